"""Trained networks at work: load one, read a scan, reconstruct it, write it."""

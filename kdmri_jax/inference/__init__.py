"""Loads trained networks, reads a scan, reconstructs and writes it."""

"""Stages: how one network is trained, saved and resumed."""

"""Sampling masks: recipes, files of several tools, and what a mask looks like."""

"""The commands: `kdmri NAME`, or `python scripts/NAME.py` in a checkout."""

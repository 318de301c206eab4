"""The commands: `kdmri NAME`, or `kdmri NAME` in a checkout."""

"""The commands `kdmri NAME`, one script each."""

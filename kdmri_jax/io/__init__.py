"""File formats, one file each, that several data sets and commands share."""

"""The experiments that are shipped, one file with get_config() each.

`kdmri run --config=NAME` takes them by name. `base` is the start for files of your own.
"""

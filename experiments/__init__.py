"""The shipped experiments, one file with get_config() each.

`kdmri run --config=NAME` takes them by name. `base` is the starting point for your own
files.
"""

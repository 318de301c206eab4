"""Speed of the networks, compared with other frameworks.

`kdmri benchmark` runs it. Each framework runs in its own process (`worker`), which
waits while another is timed; `race` lets them take turns; `table` shows the results.
The frameworks compute the same numbers from the same weights, which is checked before
anything is timed.
"""

"""How fast the networks are, side by side with other frameworks.

`kdmri benchmark` runs it. Each framework works in a process of its own (`worker`),
which waits while another is timed; `race` lets them take turns; `table` shows what came
out. The frameworks compute the same numbers from the same weights, which is checked
before anything is timed.
"""

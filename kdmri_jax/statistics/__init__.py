"""Is one model better than another? Paired statistics over subjects and seeds."""

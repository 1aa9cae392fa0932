"""URL configurations, one for each HTTP service; the setting SERVICE selects one."""

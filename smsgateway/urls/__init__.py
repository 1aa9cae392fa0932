"""URL configurations, one for each HTTP service: the environment's SERVICE chooses."""

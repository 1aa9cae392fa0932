"""The HTTP server of the API, the reporting API and the admin: an event loop in each gunicorn process.

`connection` reads whole requests and writes answers without blocking. `service` runs them: short ones on the loop's
thread, all others in pools of threads. `worker` is what gunicorn starts.
"""

"""The Django project: settings, URLs, WSGI entry and thin clients of the outside systems."""

__version__ = "0.2.0"

#!/usr/bin/env python
"""Entry point of every command: `python manage.py help`."""

import os
import sys

_NEED_NO_SERVICES = {"check", "demo", "devservices", "help", "makemigrations", "operator_simulator"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    from smsgateway.checks import stop_on_problems

    # These commands bring the missing addresses, or need none.
    if len(sys.argv) > 1 and sys.argv[1] not in _NEED_NO_SERVICES:
        stop_on_problems()
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        sys.exit(f"PostgreSQL does not answer: {reason}. Start it, or set DATABASE_URL to where it is.")


if __name__ == "__main__":
    main()

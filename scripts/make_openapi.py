"""Print the API's OpenAPI document: `python -m scripts.make_openapi > docs/openapi.json`."""

from __future__ import annotations

import json
import os
import sys

import django

# Nothing is connected to; these only let the settings load.
os.environ.setdefault("DATABASE_URL", "postgres://nobody@localhost/none")
os.environ.setdefault("CLICKHOUSE_URL", "clickhouse://localhost/none")
os.environ.setdefault("KAFKA_BROKERS", "localhost:1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")


def openapi_text() -> str:
    """The document, as it is committed."""
    from smsgateway.openapi import document

    return json.dumps(json.loads(document("smsgateway.urls.api")), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(openapi_text())

"""Print an OpenAPI document: of the API, or of the reporting API.

python -m scripts.make_openapi > docs/openapi.json
python -m scripts.make_openapi reporting > docs/openapi-reporting.json
"""

from __future__ import annotations

import json
import os
import sys

import django

# Only to load the settings: nothing connects to them.
os.environ.setdefault("DATABASE_URL", "postgres://nobody@localhost/none")
os.environ.setdefault("CLICKHOUSE_URL", "clickhouse://localhost/none")
os.environ.setdefault("KAFKA_BROKERS", "localhost:1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")


def openapi_text(service: str = "api") -> str:
    """The text of a service's document."""
    from smsgateway.http.openapi.document import document

    return json.dumps(json.loads(document(f"smsgateway.urls.{service}")), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(openapi_text(*sys.argv[1:2]))

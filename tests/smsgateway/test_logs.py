"""Log lines: JSON with the fields that are always there, and nothing that nobody may read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.db import IntegrityError, connection

from smsgateway.logs import mask, mask_text

_LINES = """
import logging, sys, warnings
from smsgateway.logs import at_debug, configure
configure({"level": sys.argv[1], "format": "json"})
import structlog
log = structlog.get_logger("a")
structlog.contextvars.bind_contextvars(request_id="r-1")
log.debug("quiet")
log.info("said", text="Your code is 1234", to="+989121234567", api_key="sgw_abcd1234567890secret", count=3)
try:
    raise ValueError("postgres://gateway:hunter2@db/x refused the key sgw_abcd1234567890secret")
except ValueError:
    log.exception("broke")
logging.getLogger("a.library").warning("Authorization: Bearer %s", "abcdef123456")
print(at_debug())
"""


def lines(level: str) -> tuple[list[dict[str, Any]], str]:
    command = [sys.executable, "-c", _LINES, level]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return [json.loads(line) for line in done.stderr.splitlines()], done.stdout.strip()


def test_every_line_is_json_with_its_level_its_time_and_the_requests_id() -> None:
    written, debug = lines("info")
    assert [line["event"] for line in written[:2]] == ["said", "broke"]
    assert all({"event", "level", "timestamp", "request_id"} <= line.keys() for line in written)
    assert written[0]["count"] == 3
    assert written[2]["level"] == "warning"
    assert debug == "False"


def test_the_level_is_a_setting() -> None:
    assert "quiet" in [line["event"] for line in lines("debug")[0]]
    assert lines("debug")[1] == "True"
    assert [line["event"] for line in lines("error")[0]] == ["broke"]


def test_secrets_and_texts_are_masked_wherever_they_come_from() -> None:
    written = json.dumps(lines("info")[0])
    for secret in ("1234 ", "code is", "989121234567", "567890secret", "hunter2", "abcdef123456"):
        assert secret not in written
    assert "sgw_abcd***" in written, "the key can be identified"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("clickhouse://user:pass@host:9000/db", "clickhouse://user:***@host:9000/db"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_***"),
        ("DETAIL:  Key (customer_id, key)=(0192, my-key) exists", "DETAIL:  Key ***"),
        ("http://host:8080/v1/sms", "http://host:8080/v1/sms"),
        ("nothing to hide (here)", "nothing to hide (here)"),
    ],
)
def test_secrets_are_known_by_their_form(text: str, masked: str) -> None:
    assert mask_text(text).startswith(masked)


def test_a_row_that_postgresql_refuses_is_not_logged(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE refusing (text text, cost int CHECK (cost > 0)) ON COMMIT DROP")
        with pytest.raises(IntegrityError) as caught:
            cursor.execute("INSERT INTO refusing VALUES ('Your code is 1234', -1)")
    assert "Your code is 1234" in str(caught.value), "PostgreSQL shows the row"
    event = mask(None, "error", {"event": "unexpected_error", "error": str(caught.value)})
    assert "1234" not in event["error"]
    assert "refusing" in event["error"]

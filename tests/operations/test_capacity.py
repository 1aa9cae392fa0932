"""`manage.py capacity`: what a rate needs, and the settings for it."""

from __future__ import annotations

import dataclasses
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from smsgateway.capacity import ARCHIVE_BYTES, POSTGRES_BYTES, capacity
from tests.support.tools import ROOT


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("capacity", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_processes_partitions_disk_and_settings() -> None:
    text = printed("--rate", "3000", "--days", "30")
    assert "259,200,000 messages a day" in text
    assert "deliver    2" in text
    assert "12 partitions a topic" in text
    assert "PARTITION_MESSAGES_KEEP_DAYS=30" in text
    assert "KAFKA_RETENTION_DAYS 10 d" in text


def test_more_messages_need_more_of_everything() -> None:
    few, many = (capacity(django_settings.CONFIG, rate=rate, days=90) for rate in (300, 30_000))
    assert all(many.processes[name] >= count for name, count in few.processes.items())
    assert many.kafka_partitions >= 2 * many.processes["deliver"]
    for one, other in zip(few.disks, many.disks, strict=True):
        assert other.total == pytest.approx(100 * one.total)


def test_each_table_is_kept_as_its_settings_say(settings: Any) -> None:
    changed = dataclasses.replace(settings.CONFIG.partitions, ledger_keep_days=800, submits_keep_days=20)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, partitions=changed)
    text = printed("--rate", "1", "--days", "60", "--hours", "10")
    assert "messages 60 d, statuses 60 d, ledger 800 d, submits 20 d" in text
    assert "36,000 messages a day" in text


@pytest.mark.parametrize("wrong", [["--rate", "0"], ["--rate", "1", "--days", "0"], ["--rate", "1", "--hours", "25"]])
def test_nonsense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(CommandError):
        printed(*wrong)


def test_the_page_has_the_same_bytes() -> None:
    page = (ROOT / "docs" / "howto" / "plan-capacity.md").read_text(encoding="utf-8")
    assert f"| PostgreSQL | {sum(POSTGRES_BYTES.values()):,} |" in page
    assert f"| archive | {sum(ARCHIVE_BYTES.values())} |" in page
    assert ", ".join(f"{name} {count}" for name, count in list(ARCHIVE_BYTES.items())[:1]) in page

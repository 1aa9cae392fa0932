"""The archive in a bucket, by a server that speaks S3."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pyarrow.fs
import pytest
from django.core.management import CommandError
from moto.server import ThreadedMotoServer

from apps.balance.selectors import accounts_off
from smsgateway.models import ArchivedPartition
from smsgateway.partitions.store import Store, StoreError
from tests.support.customers import MakeCustomer
from tests.support.partitions import configure, fill, rows_of, run


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The setting's value for an empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
        files, _ = pyarrow.fs.FileSystem.from_uri(f"s3://archive?{options}&allow_bucket_creation=true")
        files.create_dir("archive")
        yield f"s3://archive/gateway?{options}"
    finally:
        server.stop()


def test_partitions_go_to_a_bucket_and_come_back(
    old_partitions: list[str], make_customer: MakeCustomer, archive: Any, settings: Any, bucket: str
) -> None:
    configure(settings, archive=bucket)
    fill(make_customer(), 300)
    before = {table: rows_of(table) for table in ("sms_message", "sms_statusentry", "balance_ledgerentry")}
    run("apply")
    for record in ArchivedPartition.objects.all():
        assert Store(bucket).digest(record.manifest["file"]) == (record.manifest["sha256"], record.manifest["bytes"])
    run("restore", *old_partitions)
    assert {table: rows_of(table) for table in before} == before
    assert not accounts_off()


def test_a_bucket_that_is_not_there_is_told_before_anything_is_detached(
    old_partitions: list[str], make_customer: MakeCustomer, archive: Any, settings: Any, bucket: str
) -> None:
    configure(settings, archive=bucket.replace("s3://archive/", "s3://nowhere/"))
    fill(make_customer(), 3)
    with pytest.raises(CommandError, match="cannot be written"):
        run("apply")
    assert not ArchivedPartition.objects.exists()


def test_a_place_that_is_none_is_told() -> None:
    with pytest.raises(StoreError, match="PARTITION_ARCHIVE"):
        Store("s3://archive?colour=red")

"""Kafka does not answer while partitions are assigned: the worker ends with an error, so that it is started again."""

from __future__ import annotations

import pytest

from apps.sms.delivery import rebalance
from smsgateway.kafka import client as kafka
from tests.support.delivery import RunningWorker, ScriptedOperator, config_of_its_own


def test_a_worker_that_gets_no_offsets_ends_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalance, "_COMMITTED_SECONDS", 1e-6)
    with RunningWorker(config_of_its_own(), ScriptedOperator()) as worker:
        worker.wait()
    assert isinstance(worker.error, kafka.RebalanceFailed)

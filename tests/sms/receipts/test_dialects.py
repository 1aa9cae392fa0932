"""Receipts of operators with dialects: whose part speaks, states on the way, and what cannot be read."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Message
from prometheus_client import REGISTRY
from rest_framework.test import APIClient
from structlog.testing import CapturingLogger

from apps.sms import events
from apps.sms.models import OutboxEntry, ReceiptNote, SubmittedPart, WaitingReceipt
from apps.sms.operators.unread_receipts import setting_of, unread_record
from apps.sms.receipts import notations
from apps.sms.receipts.notations import notations_compare
from apps.sms.receipts.notes import notes_purge
from apps.sms.recovery.dead_letters import letters_newest, letters_replay
from apps.sms.settlement import process as settling
from smsgateway import config, ids
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer
from tests.support.delivery import WAIT_SECONDS, config_of_its_own, read_all, wait_until
from tests.support.receipts import accept, now, receive, said, settle_outbox, status_of, submit
from tests.support.settling import Settling
from tests.support.smpp import SETTINGS
from tests.support.smpp_receipts import deliver_pdu

OPERATOR = "shatel"


@pytest.fixture
def message_id(make_customer: MakeCustomer) -> UUID:
    [message_id] = accept(make_customer())
    return message_id


def configure(settings: Any, **changes: Any) -> None:
    """An SMPP operator `shatel` with these settings. `settings`: the fixture, which takes it back."""
    operator = dataclasses.replace(SETTINGS, **changes)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, smpp_operators={OPERATOR: operator})


# Which part speaks


@pytest.mark.parametrize(
    ("speaking", "receipts", "expected"),
    [
        ("all", ["a"], "submitted"),
        ("all", ["c", "b", "a"], "delivered"),
        ("first", ["c"], "submitted"),
        ("first", ["a"], "delivered"),
        ("last", ["a", "b"], "submitted"),
        ("last", ["c"], "delivered"),
        ("any", ["b"], "delivered"),
        ("any", ["c"], "delivered"),
        ("unheard-of", ["a"], "submitted"),
    ],
)
def test_the_part_that_speaks_decides(message_id: UUID, speaking: str, receipts: list[str], expected: str) -> None:
    submit(message_id, "a", "b", "c", speaking_part=speaking)
    for given in receipts:
        receive(said(given))
    assert status_of(message_id) == expected


def test_a_silent_part_cannot_fail_the_message(message_id: UUID) -> None:
    submit(message_id, "a", "b", speaking_part="last")
    assert receive(said("a", "undelivered")) == ["part"]
    assert status_of(message_id) == "submitted"


@pytest.mark.parametrize("given", [("a", "a", "a"), ("a", "", ""), ("", "a", ""), ("", "", "a")])
@pytest.mark.parametrize("speaking", ["all", "first", "last", "any"])
def test_parts_with_the_same_id_or_none_count_as_one(message_id: UUID, given: tuple[str, ...], speaking: str) -> None:
    submit(message_id, *given, speaking_part=speaking)
    receive(said("a"))
    assert status_of(message_id) == "delivered"


def test_a_receipt_before_its_submit_waits_for_it_whichever_part_speaks(message_id: UUID) -> None:
    assert receive(said("c")) == ["waiting"]
    submit(message_id, "a", "b", "c", speaking_part="last")
    settle_outbox()
    assert status_of(message_id) == "delivered"


# States on the way


def test_a_state_on_the_way_is_kept_and_is_not_final(message_id: UUID) -> None:
    submit(message_id, "7")
    assert receive(said("7", "intermediate", state="BUFFRED", error="021")) == ["intermediate"]
    assert status_of(message_id) == "submitted"
    note = ReceiptNote.objects.get(message_id=message_id)
    assert (note.operator, note.state, note.error) == ("mci", "BUFFRED", "021")
    receive(said("7", "intermediate", state="ENROUTE"))
    assert ReceiptNote.objects.get(message_id=message_id).state == "ENROUTE"
    receive(said("7"))
    assert status_of(message_id) == "delivered"


def test_a_state_on_the_way_waits_for_its_submit_as_receipts_do(message_id: UUID) -> None:
    assert receive(said("7", "intermediate", state="ACKED", tlvs={"0x1403": "aa"})) == ["waiting"]
    assert WaitingReceipt.objects.get().state == "ACKED"
    submit(message_id, "7")
    assert not WaitingReceipt.objects.exists()
    note = ReceiptNote.objects.get(message_id=message_id)
    assert (note.state, note.tlvs) == ("ACKED", {"0x1403": "aa"})


def test_parameters_of_a_final_receipt_are_kept(message_id: UUID) -> None:
    submit(message_id, "7")
    receive(said("7", "intermediate", state="ACKED", tlvs={"0x1403": "aa"}))
    receive(said("7", "delivered", state="DELIVRD", tlvs={"0x1404": "bb"}))
    assert ReceiptNote.objects.get(message_id=message_id).tlvs == {"0x1403": "aa", "0x1404": "bb"}
    assert status_of(message_id) == "delivered"


def test_several_notes_of_a_message_in_one_batch_are_one(message_id: UUID) -> None:
    submit(message_id, "7")
    receive(*(said("7", "intermediate", state=state) for state in ("ACKED", "ENROUTE", "BUFFRED")))
    assert ReceiptNote.objects.get().state == "BUFFRED"


def test_old_notes_are_purged(message_id: UUID) -> None:
    submit(message_id, "7")
    receive(said("7", "intermediate", state="ACKED"))
    assert notes_purge(before=ids.moment(message_id)) == 0
    assert notes_purge(before=ids.moment_of(now() + 60_000)) == 1


# Ids in another form


@pytest.mark.breaks("ReceiptIdsInAnotherForm")
@pytest.mark.parametrize(
    ("answer", "receipt", "setting"),
    [
        ("04062581461565934000241", "4062581461565934000241", "OPERATOR_MCI_ID_COMPARISON=ignore-zeros"),
        ("77", "0000000077", "OPERATOR_MCI_ID_COMPARISON=ignore-zeros"),
        ("A0B-7", "a0b-7", "OPERATOR_MCI_ID_COMPARISON=ignore-case"),
        ("39f99dd5", "972660181", "OPERATOR_MCI_RECEIPT_IDS=hex-then-decimal"),
        ("2571", "A0B", "OPERATOR_MCI_RECEIPT_IDS=decimal-then-hex"),
    ],
)
def test_a_receipt_that_waits_for_an_id_in_another_form_is_reported(
    message_id: UUID, monkeypatch: pytest.MonkeyPatch, answer: str, receipt: str, setting: str
) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr(notations, "log", logger)
    submit(message_id, answer)
    assert receive(said(receipt)) == ["waiting"]
    before = REGISTRY.get_sample_value("receipts_in_another_form_total", {"operator": "mci"}) or 0.0
    assert notations_compare(days=7) == 0  # it may only be early
    assert notations_compare(days=7, patience=dt.timedelta(seconds=-60)) == 1
    (line,) = [call.kwargs for call in logger.calls]
    assert (line["in_receipt"], line["in_response"], line["setting"]) == (receipt, answer, setting)
    assert REGISTRY.get_sample_value("receipts_in_another_form_total", {"operator": "mci"}) == before + 1
    assert status_of(message_id) == "submitted"


def test_a_receipt_of_an_unknown_id_is_not_reported(message_id: UUID) -> None:
    submit(message_id, "abc")
    receive(said("xyz"))
    assert notations_compare(days=7, patience=dt.timedelta(seconds=-60)) == 0


# What cannot be read


def unread(raw: bytes, **changes: Any) -> events.ReceiptUnread:
    fields: dict[str, Any] = {
        "operator": OPERATOR,
        "protocol": "smpp",
        "octets": raw,
        "reason": "its status 'WHO' is not known",
        "hint": "RECEIPT_STATUSES=WHO=…",
        "at": now(),
    }
    return events.ReceiptUnread(**fields | changes)


def test_the_letter_names_the_reason_the_setting_and_the_topic_to_read_it_from() -> None:
    own = config_of_its_own().kafka
    letter = unread_record(unread(b"\0\xff"), config=own)
    assert (letter.topic, letter.key) == (own.topic_dead_letter, b"shatel")
    headers = dict(letter.headers)
    assert headers["source_topic"] == own.topic_receipts.encode()
    reason = "unreadable receipt of shatel: its status 'WHO' is not known. Set OPERATOR_SHATEL_RECEIPT_STATUSES=WHO=…."
    assert headers["reason"] == reason.encode()
    assert events.decode_unread(letter.value).octets == b"\0\xff"


def test_a_setting_is_named_in_full() -> None:
    both = "TLV_IDS=decimal and RECEIPT_IDS=hexadecimal or RECEIPT_SOURCE=text"
    assert setting_of(OPERATOR, both) == (
        "OPERATOR_SHATEL_TLV_IDS=decimal and OPERATOR_SHATEL_RECEIPT_IDS=hexadecimal "
        "or OPERATOR_SHATEL_RECEIPT_SOURCE=text"
    )


class _Kafka:
    """An event as settlement gets it."""

    def __init__(self, event: events.ReceiptUnread) -> None:
        self._value = events.encode(event)

    def value(self) -> bytes:
        return self._value


def settle(event: events.ReceiptUnread) -> list[events.ReceiptUnread]:
    """What comes back of a replayed letter."""
    OutboxEntry.objects.all().delete()
    message: Message = _Kafka(event)  # type: ignore[assignment]
    assert settling.write([message]) == []  # it must not stop settlement, however often somebody replays it
    return kept()


def test_a_replayed_letter_is_read_with_the_settings_of_now(message_id: UUID, settings: Any) -> None:
    submit(message_id, "77", operator=OPERATOR)
    letter = unread(deliver_pdu("id:77 stat:WHO"))
    configure(settings)
    (again,) = settle(letter)
    assert (again.reason, again.hint, again.came_back) == (letter.reason, letter.hint, True)
    assert again.octets == letter.octets
    assert "replayed_from" in dict(unread_record(again, config=settings.CONFIG.kafka).headers)
    configure(settings, receipt_statuses=["WHO=delivered"])
    assert settle(letter) == []
    settle_outbox()
    assert status_of(message_id) == "delivered"


def test_a_replayed_letter_of_an_operator_that_is_gone_stays_a_letter(db: None, settings: Any) -> None:
    (again,) = settle(unread(b"", operator="nobody"))
    assert again.reason == "its operator is no operator any more"


@pytest.mark.django_db(transaction=True)
def test_a_letter_goes_from_the_topic_through_a_replay_to_its_message(
    make_customer: MakeCustomer, settings: Any
) -> None:
    [message_id] = accept(make_customer())
    submit(message_id, "77", operator=OPERATOR)
    configure(settings, receipt_statuses=["WHO=delivered"])
    with Settling() as settle_process:
        own = settle_process.config.kafka
        producer = kafka.producer(own, client_id="test")
        kafka.publish_and_wait(producer, [unread_record(unread(deliver_pdu("id:77 stat:WHO")), config=own)])
        [letter] = letters_newest(own, count=10, seconds=WAIT_SECONDS)
        assert letter.source_topic == own.topic_receipts
        assert letters_replay([letter], producer=producer, config=own) == 1
        wait_until(lambda: OutboxEntry.objects.filter(message_id=message_id, payload__isnull=False).exists())
    settle_outbox()
    assert status_of(message_id) == "delivered"


# Over HTTP


@pytest.fixture
def http_operator(db: None, settings: Any) -> None:
    described = {"RECEIPT_TOKEN": "long-enough", "RECEIPT_AUTH": "any", "URL": "http://127.0.0.1:9/{recipient}{text}"}
    loaded, _ = config.load(
        {"OPERATORS_HTTP": "rightel"} | {f"OPERATOR_RIGHTEL_{name}": value for name, value in described.items()}
    )
    settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators=loaded.http_operators)


def kept() -> list[events.ReceiptUnread]:
    rows = OutboxEntry.objects.filter(payload__isnull=False).order_by("id")
    payloads = [bytes(row.payload or b"") for row in rows]
    return [events.decode_unread(payload) for payload in payloads if events.is_unread_receipt(payload)]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b'{"id": "7", "status": "WHO"}', "RECEIPT_STATUSES=WHO=\u2026"),
        (
            b'{"data": {"messageId": "7", "state": "WHO"}, "x": 1}',
            "RECEIPT_STATUS=data.state and RECEIPT_ID=data.messageId",
        ),
        (b"not a document", ""),
        (b"\x00\x01\x02", ""),
    ],
)
def test_what_is_refused_over_http_is_kept_too(http_operator: None, api: APIClient, body: bytes, hint: str) -> None:
    OutboxEntry.objects.all().delete()
    answer: Any = api.generic(
        "POST",
        "/v1/operators/rightel/receipts",
        body,
        content_type="application/json",
        headers={"Authorization": "Bearer long-enough"},
    )
    assert answer.status_code == 400
    (found,) = kept()
    assert (found.operator, found.protocol, found.octets, found.hint) == ("rightel", "http", body, hint)
    assert found.reason


def test_the_token_of_a_query_is_not_kept(http_operator: None, api: APIClient) -> None:
    OutboxEntry.objects.all().delete()
    answer: Any = api.get("/v1/operators/rightel/receipts?id=7&status=WHO&token=long-enough")
    assert answer.status_code == 400
    (found,) = kept()
    assert "long-enough" not in found.query
    assert "id=7" in found.query


def test_a_letter_of_http_is_read_again_with_the_settings_of_now(
    http_operator: None, message_id: UUID, settings: Any
) -> None:
    submit(message_id, "7", operator="rightel")
    letter = unread(
        b"<r><id>7</id><status>WHO</status></r>",
        operator="rightel",
        protocol="http",
        method="POST",
        content_type="text/xml",
    )
    assert len(settle(letter)) == 1
    operator = dataclasses.replace(settings.CONFIG.http_operators["rightel"], receipt_statuses=["WHO=delivered"])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators={"rightel": operator})
    assert settle(letter) == []
    settle_outbox()
    assert status_of(message_id) == "delivered"


@pytest.mark.django_db(transaction=True)
def test_the_relay_publishes_it_as_a_dead_letter(http_operator: None, api: APIClient) -> None:
    from apps.sms.outbox import relay

    own = config_of_its_own()
    api.get("/v1/operators/rightel/receipts?id=7&status=WHO&token=long-enough")
    assert relay.relay_round(producer=kafka.producer(own.kafka, client_id="test"), config=own) == 1
    assert not OutboxEntry.objects.exists()
    [letter] = read_all(own, own.kafka.topic_dead_letter)
    headers = dict(letter.headers() or [])
    assert headers["source_topic"] == own.kafka.topic_receipts.encode()
    assert b"RECEIPT_STATUSES=WHO=" in headers["reason"]
    assert SubmittedPart.objects.count() == 0

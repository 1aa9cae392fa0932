"""Shedding load: which requests are refused at which wait, and how the refusals are reported."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import structlog.testing

from smsgateway.errors import Overloaded
from smsgateway.http import admission as admission_module
from smsgateway.http.admission import LOG_SECONDS, PATIENCE, Admission, Kind, kind_of
from smsgateway.metrics import HTTP_SHED

LIMIT = 2.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(max_wait=LIMIT, clock=clock, spread=lambda low, _high: low)


def shed(admission: Admission, wait: float) -> set[Kind]:
    found = set()
    for kind in Kind:
        try:
            admission.check(kind, wait)
        except Overloaded:
            found.add(kind)
    return found


def test_nothing_is_refused_while_requests_wait_briefly(admission: Admission) -> None:
    assert shed(admission, 0.0) == shed(admission, LIMIT / 2) == set()
    assert admission.is_calm(LIMIT / 2)


def test_bulk_is_refused_first_and_one_time_passwords_last(admission: Admission) -> None:
    order: list[set[Kind]] = []
    for tenths in range(1, 100):
        found = shed(admission, tenths / 10)
        if not order or found != order[-1]:
            order.append(found)
    assert order[0] == set()
    assert order[1] == {Kind.BULK}
    assert Kind.NORMAL in order[2]
    assert order[-1] - order[-2] == {Kind.OTP}
    assert order[-1] == set(Kind) - {Kind.HEALTH}
    assert not admission.is_calm(LIMIT)


def test_health_checks_are_never_refused(admission: Admission) -> None:
    assert Kind.HEALTH not in shed(admission, 1e9)


@pytest.mark.parametrize(("wait", "soonest"), [(2.1, 3), (30.0, 30), (1e9, 60)])
def test_a_refusal_says_when_to_try_again(clock: Clock, wait: float, soonest: int) -> None:
    asked = []

    def spread(low: int, high: int) -> int:
        asked.append((low, high))
        return low

    with pytest.raises(Overloaded) as refused:
        Admission(max_wait=LIMIT, clock=clock, spread=spread).check(Kind.NORMAL, wait)
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    assert refused.value.headers == {"Retry-After": str(soonest)}
    ((low, high),) = asked
    assert high == 2 * low  # so that the clients do not all return at once


def test_refusals_are_counted_and_logged_at_a_bounded_rate(
    admission: Admission, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(admission_module, "log", log)
    before = HTTP_SHED.labels(Kind.BULK)._value.get()
    for _ in range(500):
        with pytest.raises(Overloaded):
            admission.check(Kind.BULK, 9.0)
    clock.now += LOG_SECONDS
    with pytest.raises(Overloaded):
        admission.check(Kind.OTP, 9.0)
    assert HTTP_SHED.labels(Kind.BULK)._value.get() == before + 500
    assert [(line.args[0], line.kwargs.get("bulk"), line.kwargs.get("otp")) for line in log.calls] == [
        ("requests_shed", 1, None),
        ("requests_shed", 499, 1),
    ]


def test_the_wait_is_that_of_the_oldest_request(admission: Admission, clock: Clock) -> None:
    since = clock.now
    clock.now += 3
    assert admission.wait(since) == 3
    assert admission.wait(None) == 0


def test_a_full_queue_refuses_at_any_wait(admission: Admission) -> None:
    with pytest.raises(Overloaded) as refused:
        admission.refuse(Kind.OTP, 0.0)
    assert refused.value.headers == {"Retry-After": "1"}


def test_queues_on_the_loop_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "_OLDEST", {})
    admission_module.measure((Kind.OTP, Kind.BULK), lambda: 5.0)
    assert admission_module.oldest_on_loop(Kind.OTP) == admission_module.oldest_on_loop(Kind.BULK) == 5.0
    assert admission_module.oldest_on_loop(Kind.READ) is None


SEND = ("POST", "/v1/sms/send")
BODY: Callable[..., bytes] = lambda **more: json.dumps({"to": "1", "text": "x"} | more).encode()  # noqa: E731


@pytest.mark.parametrize(
    ("request_", "body", "kind"),
    [
        (SEND, BODY(), Kind.NORMAL),
        (SEND, BODY(priority="otp"), Kind.OTP),
        (SEND, BODY(priority="bulk"), Kind.BULK),
        (SEND, b'{"priority"\r\n\t : "otp"}', Kind.OTP),
        (SEND, BODY(text='"priority":"otp"'), Kind.NORMAL),  # a text is no wish
        (SEND, BODY(priority="urgent"), Kind.NORMAL),
        (SEND, b"\x1f\x8b", Kind.NORMAL),
        (("POST", "/v1/sms/batch"), BODY(priority="otp"), Kind.BATCH),
        (("POST", "/v1/sms/estimate"), b"", Kind.BATCH),
        (("POST", "/v1/operators/mci/receipts"), b"", Kind.RECEIPT),
        (("GET", "/v1/operators/mci/receipts"), b"", Kind.RECEIPT),
        (("GET", "/v1/sms"), b"", Kind.READ),
        (("GET", "/healthz"), b"", Kind.HEALTH),
        (("GET", "/readyz"), b"", Kind.HEALTH),
        (("GET", "/metrics"), b"", Kind.HEALTH),
        (("POST", "/v1/sms/01M85WEX1V5DRSABARX08QE0G2/cancel"), b"", Kind.READ),
        (("GET", "/nothing"), b"", Kind.READ),
    ],
)
def test_a_request_has_a_kind(request_: tuple[str, str], body: bytes, kind: Kind) -> None:
    assert kind_of(*request_, body) is kind
    assert kind in PATIENCE

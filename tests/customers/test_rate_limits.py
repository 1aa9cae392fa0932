"""Rate limits by customer, counted in messages."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from apps.balance.models import Account
from apps.customers import own_limits
from apps.customers.models import Customer
from apps.customers.own_limits import OwnLimits
from apps.sms.errors import RequestInProgress
from apps.sms.views import sending
from smsgateway import ids
from smsgateway.metrics import RATE_LIMIT_UNCHECKED
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
Redis = Callable[[str], None]


def send(post: Post, customer_id: UUID, count: int = 1, **headers: str) -> Any:
    messages = [{"to": "09121234567", "text": "hi"}] * count
    if count == 1:
        return post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), **messages[0]}, **headers)
    return post("/v1/sms/batch", {"customer_id": ids.to_text(customer_id), "messages": messages}, **headers)


@pytest.fixture
def limited(make_customer: MakeCustomer) -> Callable[[int], UUID]:
    def make(limit: int) -> UUID:
        customer_id = make_customer()
        Customer.objects.filter(id=customer_id).update(messages_per_minute=limit)
        return customer_id

    return make


@pytest.fixture
def use_redis(settings: Any) -> Redis:
    def use(url: str) -> None:
        settings.CONFIG = dataclasses.replace(
            settings.CONFIG, redis=dataclasses.replace(settings.CONFIG.redis, url=url)
        )

    return use


def fields(header: str) -> dict[str, int]:
    name, *parameters = header.split(";")
    assert name == '"messages"'
    return {key: int(value) for key, value in (parameter.split("=") for parameter in parameters)}


def test_a_batch_counts_its_messages_and_the_headers_tell_what_is_left(
    limited: Callable[[int], UUID], post: Post
) -> None:
    customer_id = limited(10)
    first = send(post, customer_id)
    assert fields(first["RateLimit-Policy"]) == {"q": 10, "w": 60}
    assert fields(first["RateLimit"])["r"] == 9
    assert fields(send(post, customer_id, 7)["RateLimit"])["r"] == 2
    refused = send(post, customer_id, 3)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused["Retry-After"]) > 0
    assert send(post, customer_id, 2).status_code == 200
    assert send(post, customer_id).status_code == 429
    assert Account.objects.get(customer_id=customer_id).balance == 1_000_000 - 10 * 100


def test_customers_have_limits_of_their_own(limited: Callable[[int], UUID], post: Post) -> None:
    busy, other = limited(1), limited(1)
    assert [send(post, customer_id).status_code for customer_id in (busy, busy, other)] == [200, 429, 200]


def test_a_batch_that_can_never_pass_is_not_worth_another_try(limited: Callable[[int], UUID], post: Post) -> None:
    customer_id = limited(5)
    for form in ({"messages": [{"to": "09121234567", "text": "hi"}] * 6}, {"to": ["09121234567"] * 6, "text": "hi"}):
        response = post("/v1/sms/batch", {"customer_id": ids.to_text(customer_id)} | form)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
        assert "Retry-After" not in response
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == (next(iter(form)), "invalid_length")
        assert "5 messages a minute" in error["reason"]
    assert send(post, customer_id, 5).status_code == 200  # nothing was taken


def test_the_items_that_are_refused_are_not_counted(limited: Callable[[int], UUID], post: Post) -> None:
    messages = [{"to": "09121234567", "text": "hi"}] * 2 + [{"to": "no number", "text": "hi"}] * 5
    body = {"customer_id": ids.to_text(limited(2)), "messages": messages}
    assert post("/v1/sms/batch", body).json()["accepted"] == 2


def test_replays_take_nothing_from_the_allowance(limited: Callable[[int], UUID], post: Post) -> None:
    customer_id = limited(10)
    first = send(post, customer_id, 4, **{"Idempotency-Key": "k"})
    for _ in range(5):
        again = send(post, customer_id, 4, **{"Idempotency-Key": "k"})
        assert (again.status_code, again["Idempotent-Replayed"], again.content) == (200, "true", first.content)
        assert fields(again["RateLimit"])["r"] == 6
    assert send(post, customer_id, 6).status_code == 200


def test_a_replay_is_answered_though_nothing_is_left(limited: Callable[[int], UUID], post: Post) -> None:
    customer_id = limited(4)
    first = send(post, customer_id, 4, **{"Idempotency-Key": "k"})
    assert send(post, customer_id).status_code == 429
    again = send(post, customer_id, 4, **{"Idempotency-Key": "k"})
    assert (again.status_code, again["Idempotent-Replayed"], again.content) == (200, "true", first.content)
    # Also when so many would not be taken any more.
    Customer.objects.filter(id=customer_id).update(messages_per_minute=3)
    assert send(post, customer_id, 4, **{"Idempotency-Key": "k"}).content == first.content
    assert send(post, customer_id, 4, **{"Idempotency-Key": "another"}).status_code == 400


def test_asking_again_for_a_request_in_progress_takes_nothing(
    limited: Callable[[int], UUID], post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def running(**_arguments: object) -> None:
        raise RequestInProgress

    customer_id = limited(2)
    with monkeypatch.context() as patched:
        patched.setattr(sending, "messages_accept", running)
        for _ in range(5):
            assert send(post, customer_id, 2, **{"Idempotency-Key": "k"}).status_code == 409
    assert send(post, customer_id, 2, **{"Idempotency-Key": "k"}).status_code == 200


def test_customers_with_limits_of_their_own_are_read_together(
    limited: Callable[[int], UUID], make_customer: MakeCustomer, django_assert_num_queries: Any
) -> None:
    limits = {limited(number): number for number in range(1, 20)} | {make_customer(): None for _ in range(20)}
    read = OwnLimits()
    with django_assert_num_queries(1):
        assert {customer_id: read.limit(customer_id, max_age=60) for customer_id in limits} == limits


def test_old_limits_hold_while_the_database_is_away(
    limited: Callable[[int], UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> dict[UUID, int]:
        raise OperationalError("away")

    customer_id, read = limited(7), OwnLimits()
    with monkeypatch.context() as patched:
        patched.setattr(own_limits, "read", away)
        with pytest.raises(OperationalError):
            read.limit(customer_id, max_age=60)
    assert read.limit(customer_id, max_age=60) == 7
    monkeypatch.setattr(own_limits, "read", away)
    assert read.limit(customer_id, max_age=0) == 7


def test_nobody_waits_while_limits_are_read_again(
    limited: Callable[[int], UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id, read = limited(7), OwnLimits()
    assert read.limit(customer_id, max_age=0) == 7
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> dict[UUID, int]:
        begun.set()
        assert go_on.wait(60)
        return {customer_id: 8}

    monkeypatch.setattr(own_limits, "read", slow)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read.limit, customer_id, max_age=0)
        assert begun.wait(60)
        assert read.limit(customer_id, max_age=0) == 7
        go_on.set()
        assert reading.result() == 8


def test_the_default_holds_for_customers_without_a_limit(
    make_customer: MakeCustomer, post: Post, settings: Any
) -> None:
    api = dataclasses.replace(settings.CONFIG.api, messages_per_minute=2)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, api=api)
    customer_id = make_customer()
    assert [send(post, customer_id).status_code for _ in range(3)] == [200, 200, 429]


def test_a_refusal_for_the_rate_is_not_kept_under_its_key(limited: Callable[[int], UUID], post: Post) -> None:
    customer_id = limited(1)
    send(post, customer_id)
    assert send(post, customer_id, **{"Idempotency-Key": "k"}).status_code == 429
    Customer.objects.filter(id=customer_id).update(messages_per_minute=100)
    assert send(post, customer_id, **{"Idempotency-Key": "k"}).status_code == 200


@pytest.mark.breaks("RateLimitsUnchecked")
def test_requests_pass_and_are_counted_when_redis_is_away(
    limited: Callable[[int], UUID], post: Post, use_redis: Redis
) -> None:
    use_redis("redis://127.0.0.1:1/0")
    customer_id = limited(1)
    before = RATE_LIMIT_UNCHECKED._value.get()
    responses = [send(post, customer_id) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert "RateLimit" not in responses[0]
    assert RATE_LIMIT_UNCHECKED._value.get() == before + 3


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server (Debian's package of that name) is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait()


def test_redis_counts_for_all_processes(
    limited: Callable[[int], UUID], post: Post, use_redis: Redis, redis_port: int
) -> None:
    customer_id = limited(3)
    use_redis(f"redis://127.0.0.1:{redis_port}/0")
    assert send(post, customer_id, 2).status_code == 200
    # Another URL of the same server is another limiter, as in another process.
    use_redis(f"redis://localhost:{redis_port}/0")
    assert [send(post, customer_id).status_code for _ in range(2)] == [200, 429]


def test_replays_take_nothing_from_an_allowance_in_redis(
    limited: Callable[[int], UUID], post: Post, use_redis: Redis, redis_port: int
) -> None:
    use_redis(f"redis://127.0.0.1:{redis_port}/0")
    customer_id = limited(4)
    first = send(post, customer_id, 3, **{"Idempotency-Key": "k"})
    for _ in range(3):
        again = send(post, customer_id, 3, **{"Idempotency-Key": "k"})
        assert again.content == first.content
        assert fields(again["RateLimit"])["r"] == 1
    refused = send(post, customer_id, 2)
    assert refused.status_code == 429
    assert 30 < int(refused["Retry-After"]) <= 61  # until what was taken is in the window before
    assert send(post, customer_id).status_code == 200
    assert send(post, customer_id, 3, **{"Idempotency-Key": "k"}).content == first.content
    assert send(post, customer_id, 5).status_code == 400

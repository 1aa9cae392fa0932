"""Endpoints and hosts that only fail are paused as a whole, probed, and let go; slow ones delay nobody else."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest
from django.core.mail import EmailMessage
from django.db.models import F
from django.db.models.functions import Now
from rest_framework.test import APIClient

from apps.customers.callback_endpoints import endpoint_set
from apps.customers.models import CallbackHealth, Customer
from apps.sms.callbacks import health, pause_mails, rows, worker
from apps.sms.callbacks.enqueue import USUAL
from apps.sms.callbacks.health import Result
from apps.sms.callbacks.lanes import Lane
from apps.sms.models import Callback
from smsgateway import ids
from smsgateway.metrics import CALLBACK_ATTEMPTS, CALLBACK_PAUSED
from tests.support.callbacks import Answer, Endpoint, RunningWorker, all_are, config_with, endpoint_of, settle, wait_for
from tests.support.customers import MakeCustomer

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://shop.example/sms"
HOST = "https://hooks.example"


def record(
    customer_id: UUID, *errors: str, host: str = "", url: str = URL, probed: bool = False, **changes: Any
) -> None:
    results = [Result(Lane(customer_id, host), "" if host else url, error, probed) for error in errors]
    health.results_record(results, config=config_with(**{"pause_after": 3} | changes))


def is_paused(customer_id: UUID, host: str = "") -> bool:
    return CallbackHealth.objects.filter(customer_id=customer_id, host=host, paused_until__gt=Now()).exists()


def a_pause_ends() -> None:
    CallbackHealth.objects.exclude(paused_until=None).update(paused_until=Now())


def barrier(make_customer: MakeCustomer, good: Endpoint) -> None:
    """Return when every worker has looked at all lanes again: what was due before has been claimed or left."""
    for _ in range(3):
        customer_id = make_customer()
        settle(customer_id, callback_url=good.url)
        own = Callback.objects.filter(customer_id=customer_id)
        wait_for(lambda own=own: own.filter(status="delivered").exists(), "another customer's callback")


def test_an_endpoint_that_only_fails_is_paused_as_a_whole_and_probed(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    answers, released = [500], threading.Event()
    released.set()

    def answer(_path: str, _before: int) -> Answer:
        released.wait()
        return answers[-1], {}

    config = config_with(
        pause_after=3, per_customer=4, pause_delays=["3600", "7200"], retry_delays=[*["0.01"] * 50, "3600"]
    )
    with Endpoint(answer) as broken, Endpoint() as good, ExitStack() as stack:
        for _ in range(2):  # two processes share what they know
            stack.enter_context(RunningWorker(config))
        endpoint_of(customer_id, broken.url)
        settle(customer_id, count=50)
        wait_for(lambda: is_paused(customer_id), "the pause")
        barrier(make_customer, good)
        tried = len(broken.received)
        assert tried <= 3 + 2 * 4  # what was in flight, not fifty
        stack.enter_context(RunningWorker(config))  # a new process keeps to it
        settle(customer_id, count=10)
        barrier(make_customer, good)
        assert len(broken.received) == tried

        released.clear()
        a_pause_ends()
        wait_for(lambda: len(broken.received) == tried + 1, "the probe")
        barrier(make_customer, good)
        assert len(broken.received) == tried + 1
        released.set()
        wait_for(lambda: CallbackHealth.objects.get().pauses == 2, "the second pause")
        barrier(make_customer, good)
        assert len(broken.received) == tried + 1

        answers.append(204)
        a_pause_ends()
        wait_for(lambda: all_are("delivered"), "all that waited")
    assert not CallbackHealth.objects.exists()
    assert {received.id for received in broken.received} >= {
        ids.to_text(id) for id in Callback.objects.filter(customer_id=customer_id).values_list("id", flat=True)
    }


def test_forty_slow_hosts_delay_neither_the_customers_others_nor_other_customers(make_customer: MakeCustomer) -> None:
    busy, other = make_customer(), make_customer()
    released = threading.Event()

    def never(_path: str, _before: int) -> Answer:
        released.wait()
        return 204, {}

    config = config_with(per_customer=10, slow_after=0.05, timeout=300.0, drain_timeout=300.0)
    with ExitStack() as stack:
        slow = [stack.enter_context(Endpoint(never)) for _ in range(40)]
        good, host = stack.enter_context(Endpoint()), stack.enter_context(Endpoint())
        stack.enter_context(RunningWorker(config))
        stack.callback(released.set)
        endpoint_of(busy, good.url)
        endpoint_of(other, good.url)
        for endpoint in slow:
            settle(busy, count=3, callback_url=endpoint.url)
        wait_for(lambda: all(endpoint.received for endpoint in slow), "a call of each slow host")
        settle(busy, count=20)
        settle(busy, count=20, callback_url=host.url)
        settle(other, count=20)
        wait_for(lambda: (len(good.received), len(host.received)) == (40, 20), "those of endpoints that are quick")
        assert not Callback.objects.filter(status="delivered", url__in=[endpoint.url for endpoint in slow]).exists()
        released.set()
        wait_for(lambda: all_are("delivered"), "the slow ones")


def test_forty_slow_urls_of_one_host_delay_nothing_else(make_customer: MakeCustomer) -> None:
    busy = make_customer()
    released = threading.Event()

    def never(_path: str, _before: int) -> Answer:
        released.wait()
        return 204, {}

    config = config_with(per_customer=10, slow_after=0.05, timeout=300.0, drain_timeout=300.0)
    with Endpoint(never) as slow, Endpoint() as good, ExitStack() as stack:
        stack.enter_context(RunningWorker(config))
        stack.callback(released.set)
        endpoint_of(busy, good.url)
        for number in range(40):
            settle(busy, callback_url=f"{slow.url}{number}")
        wait_for(lambda: len(slow.received) == 10, "the calls that the host may have")
        settle(busy, count=20)
        wait_for(lambda: len(good.received) == 20, "the endpoint's")
        assert len(slow.received) == 10
        released.set()
        wait_for(lambda: all_are("delivered"), "the slow ones")


def test_failures_in_a_row_pause_and_a_success_ends_it(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    record(customer_id, "timeout", "server_error")
    record(customer_id, "timeout", "", "server_error")
    assert not CallbackHealth.objects.exists()
    record(customer_id, "timeout", "server_error")
    assert not is_paused(customer_id)
    record(customer_id, "tls")
    assert is_paused(customer_id)
    found = CallbackHealth.objects.get()
    assert (found.failures, found.pauses, found.last_error) == (3, 1, "tls")
    record(customer_id, "")
    assert not CallbackHealth.objects.exists()


def test_what_was_in_flight_lengthens_no_pause_and_a_failed_probe_does(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    record(customer_id, *["timeout"] * 3, pause_delays=["60", "3600"])
    until = CallbackHealth.objects.get().paused_until
    record(customer_id, *["timeout"] * 5, pause_delays=["60", "3600"])
    assert CallbackHealth.objects.get().paused_until == until
    for pauses in (2, 3):
        a_pause_ends()
        record(customer_id, "timeout", probed=True, pause_delays=["60", "3600"])
        found = CallbackHealth.objects.annotate(left=F("paused_until") - Now()).get()
        assert found.pauses == pauses
        assert dt.timedelta(minutes=55) < found.left <= dt.timedelta(hours=1)


def test_one_process_gets_the_probe_and_the_next_when_its_lease_ends(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    record(customer_id, *["timeout"] * 3)
    lane = Lane(customer_id, "")
    assert health.probes_claim([lane], lease_seconds=60) == set()
    a_pause_ends()
    assert health.probes_claim([lane], lease_seconds=60) == {lane}
    assert health.probes_claim([lane], lease_seconds=60) == set()
    a_pause_ends()
    assert health.probes_claim([lane], lease_seconds=60) == {lane}


def test_hosts_and_the_endpoint_are_paused_each_for_itself(make_customer: MakeCustomer) -> None:
    customer_id, other = make_customer(), make_customer()
    endpoint_of(customer_id, URL)
    record(customer_id, *["server_error"] * 3, host=HOST)
    assert is_paused(customer_id, HOST)
    assert not is_paused(customer_id)
    assert not is_paused(other, HOST)
    fields: dict[str, Any] = {"event": "delivered", "at": Now(), "next_at": Now()}
    Callback.objects.bulk_create(
        Callback(customer_id=owner, message_id=ids.new_id(), url=url, host=host, **fields)
        for owner in (customer_id, other)
        for url, host in (("", ""), (f"{HOST}/a", HOST))
    )
    due = {one.lane for one in rows.lanes(after=rows.START, most=10).due}
    assert due == {Lane(customer_id, ""), Lane(other, ""), Lane(other, HOST)}
    count, age = rows.waiting()
    assert (count, health.paused()) == (4, 1)
    Callback.objects.filter(customer_id=customer_id, host=HOST).update(status="failed")
    assert health.paused() == 0  # nothing waits for it
    assert age >= 0


def test_callbacks_of_paused_hosts_are_not_late(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    hour_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)
    Callback.objects.create(customer_id=customer_id, event="test", at=hour_ago, next_at=hour_ago)
    endpoint_of(customer_id, URL)
    assert rows.waiting()[1] >= 3600
    record(customer_id, *["timeout"] * 3)
    assert rows.waiting() == (1, 0.0)


def test_setting_the_endpoint_ends_its_pause_and_its_former_url_begins_none(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    record(customer_id, *["timeout"] * 3)
    endpoint_set(customer_id=customer_id, url="https://new.example/", statuses=USUAL, enabled=True)
    record(customer_id, *["timeout"] * 9)
    assert not CallbackHealth.objects.exists()


def test_nobodys_callbacks_are_no_ones_health(db: None) -> None:
    record(ids.new_id(), *["timeout"] * 3, host=HOST)
    assert not CallbackHealth.objects.exists()


@pytest.mark.parametrize(("status", "pauses"), [(500, True), (429, True), (404, False), (302, False), (410, False)])
def test_a_host_is_blamed_for_what_concerns_it(make_customer: MakeCustomer, status: int, pauses: bool) -> None:
    customer_id = make_customer()
    with Endpoint(lambda _path, _before: (status, {})) as endpoint, RunningWorker(config_with(pause_after=3)):
        settle(customer_id, count=6, callback_url=endpoint.url + "one")
        wait_for(
            lambda: not Callback.objects.filter(attempts=0).exists() or is_paused(customer_id, endpoint.url[:-1]), ""
        )
    assert CallbackHealth.objects.filter(paused_until__isnull=False).exists() is pauses


def test_an_endpoint_is_blamed_for_every_answer_but_2xx(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint(lambda _path, _before: (404, {})) as endpoint, RunningWorker(config_with(pause_after=3)):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id, count=6)
        wait_for(lambda: is_paused(customer_id), "the pause")


def test_what_waits_for_a_paused_endpoint_fails_when_its_schedule_has_ended(make_customer: MakeCustomer) -> None:
    customer_id, well = make_customer(), make_customer()
    endpoint_of(customer_id, URL)
    delays = [60.0, 600.0, 3600.0]
    record(customer_id, *["timeout"] * 3)
    now = dt.datetime.now(tz=dt.UTC)

    def waiting(attempts: int, minutes: int, owner: UUID = customer_id) -> UUID:
        due = now - dt.timedelta(minutes=minutes)
        fields = {"event": "test", "at": now, "next_at": due, "attempts": attempts}
        return Callback.objects.create(customer_id=owner, **fields).id

    over = {waiting(0, 72), waiting(1, 71), waiting(3, 61)}
    waiting(0, 70), waiting(1, 69), waiting(3, 59), waiting(0, 9999, well)
    assert health.expire(delays=delays) == 3
    failed = Callback.objects.filter(status="failed")
    assert {callback.id for callback in failed} == over
    assert {(callback.last_error, callback.next_at) for callback in failed} == {("endpoint_paused", None)}


def test_the_customer_gets_an_email_when_its_endpoint_stays_paused(
    make_customer: MakeCustomer, settings: Any, mailoutbox: list[EmailMessage]
) -> None:
    settings.EMAIL_HOST = "mail.example"
    customer_id, without = make_customer(name="Bazaar"), make_customer()
    Customer.objects.filter(id=customer_id).update(email="ops@bazaar.example")
    endpoint_of(customer_id, URL)
    endpoint_of(without, URL)
    record(customer_id, *["server_error"] * 3, mail_after=600)
    record(customer_id, *["server_error"] * 3, host=HOST, mail_after=0)
    record(without, *["server_error"] * 3, mail_after=0)
    assert pause_mails.pause_mails_send() == 0  # not yet
    CallbackHealth.objects.filter(customer_id=customer_id, host="").update(mail_at=Now())
    assert (pause_mails.pause_mails_send(), pause_mails.pause_mails_send()) == (1, 0)
    a_pause_ends()
    record(customer_id, "server_error", probed=True, mail_after=0)
    assert pause_mails.pause_mails_send() == 0  # once each time that it fails
    [mail] = mailoutbox
    assert mail.to == ["ops@bazaar.example"]
    for part in ("Bazaar", URL, "server_error", ids.to_text(customer_id)):
        assert part in mail.body
    record(customer_id, "")
    record(customer_id, *["server_error"] * 3, mail_after=0)
    assert pause_mails.pause_mails_send() == 1


def test_the_api_shows_the_pause(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    path = f"/v1/customers/{ids.to_text(customer_id)}/callback"
    assert api.get(path).json()["paused_until"] is None
    record(customer_id, *["timeout"] * 3)
    assert api.get(path).json()["paused_until"] is not None
    assert api.put(path, {"url": URL}, format="json").json()["paused_until"] is None


def test_a_message_keeps_its_urls_host(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    for url in ("https://Shop.Example:8443/a/b?c=d", "https://shop.example?x", ""):
        settle(customer_id, callback_url=url)
    hosts = dict(Callback.objects.values_list("url", "host"))
    assert hosts == {
        "https://Shop.Example:8443/a/b?c=d": "https://shop.example:8443",
        "https://shop.example?x": "https://shop.example",
        "": "",
    }


@pytest.mark.breaks("CallbacksAllFail")
def test_a_network_without_a_way_out_shows(make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`callback_hosts_paused` rises, and `callback_attempts_total` counts tries that are not delivered."""
    monkeypatch.setattr(worker, "_COUNT_SECONDS", 0.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        before = {outcome: counted(outcome) for outcome in ("delivered", "unreachable")}
        with RunningWorker(config_with(pause_after=1, pause_delays=["0.1"])):
            for _ in range(3):
                customer_id = make_customer()
                endpoint_of(customer_id, away)
                settle(customer_id, count=2)
            wait_for(lambda: CALLBACK_PAUSED._value.get() == 3, "three endpoints to be paused")
            assert counted("delivered") == before["delivered"]
            assert counted("unreachable") >= before["unreachable"] + 3
            nobody.close()
            with Endpoint() as good:
                for customer in Customer.objects.all():
                    endpoint_set(customer_id=customer.id, url=good.url, statuses=USUAL, enabled=True)
                Callback.objects.filter(status="pending").update(next_at=Now())
                wait_for(lambda: CALLBACK_PAUSED._value.get() == 0, "none to be paused")
                wait_for(lambda: counted("delivered") > before["delivered"], "a callback")


def counted(outcome: str) -> float:
    return float(CALLBACK_ATTEMPTS.labels(outcome)._value.get())


def test_hosts_that_are_not_called_any_more_are_forgotten(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    hosts = [f"{HOST}:{number}" for number in range(1, 5)]
    for host in hosts:
        record(customer_id, "timeout", host=host)
    CallbackHealth.objects.exclude(host=hosts[0]).update(failing_since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    Callback.objects.create(customer_id=customer_id, event="test", at=Now(), next_at=Now(), host=hosts[1])
    Callback.objects.create(customer_id=customer_id, event="test", at=Now(), status="failed", host=hosts[2])
    rows.purge(before=dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    assert set(CallbackHealth.objects.values_list("host", flat=True)) == set(hosts[:2])

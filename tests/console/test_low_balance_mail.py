"""E-mails of low balances, from the settings of production to a real SMTP server on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.mail.backends.smtp import EmailBackend
from django.db.models.functions import Now

from apps.balance.low_balance import low_balance_set
from apps.balance.models import LowBalance
from apps.customers.models import Customer
from apps.devservices.gateway import CALLBACKS, Gateway
from apps.sms.callbacks.low_balance import low_balances_notify, mails_send
from smsgateway.metrics import LOW_BALANCE_MAILS
from tests.support.callbacks import wait_for
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.mail_server import PASSWORD, USER, MailServer, mail_server, trusted
from tests.support.running_gateway import metric_value

LowCustomer = Callable[..., None]


@pytest.fixture
def low_customer(make_customer: MakeCustomer) -> LowCustomer:
    """A customer whose balance, 123.45 IRR, is below its threshold, and who has not been notified yet."""

    def make(address: str = "ops@bazaar.example", name: str = "بازار") -> None:
        customer_id = make_customer(balance=12_345, name=name)
        Customer.objects.filter(id=customer_id).update(email=address)
        low_balance_set(customer_id=customer_id, threshold=20_000)

    return make


@contextmanager
def sending_to(server: MailServer, security: str, settings: Any, *, password: str = PASSWORD) -> Iterator[None]:
    """Django's settings as ours become for this server."""
    settings.EMAIL_BACKEND = f"{EmailBackend.__module__}.{EmailBackend.__qualname__}"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", server.port
    settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = security == "starttls", security == "tls"
    if security != "none":
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = USER, password
    yield


def a_minute_passes() -> None:
    LowBalance.objects.exclude(mail_at=None).update(mail_at=Now())


def outcomes() -> tuple[float, float]:
    """E-mails sent and failed, as the metric counts them."""
    sent, failed = (LOW_BALANCE_MAILS.labels(outcome)._value.get() for outcome in ("sent", "failed"))
    return sent, failed


@pytest.mark.django_db(transaction=True)
def test_a_refused_email_is_logged_and_sent_again_a_minute_later(
    transactional_db: None, low_customer: LowCustomer, tmp_path: Path
) -> None:
    """The callbacks process, with STARTTLS and a login from its environment."""
    with mail_server("starttls") as server:
        server.refusal = "451 4.3.0 try again later"
        environment = os.environ | {
            "DATABASE_URL": database_url(),
            "EMAIL_HOST": "localhost",
            "EMAIL_PORT": str(server.port),
            "EMAIL_SECURITY": "starttls",
            "EMAIL_USER": USER,
            "EMAIL_PASSWORD": PASSWORD,
            "EMAIL_SENDER": "Gateway <billing@gateway.example>",
            "SSL_CERT_FILE": trusted(server, tmp_path),
            "CALLBACK_LOW_BALANCE_CHECK": "0.1",
            "LOG_LEVEL": "info",
        }
        low_customer()
        with Gateway(directory=tmp_path, environ=environment) as gateway:
            gateway.start(CALLBACKS)
            gateway.wait_ready()
            wait_for(lambda: server.refused, "the first try")
            wait_for(
                lambda: metric_value(gateway, CALLBACKS, "low_balance_mails_total", outcome="failed") == 1, "the metric"
            )
            wait_for(lambda: "low_balance_mail_waits" in gateway.log(CALLBACKS).read_text(), "the log")
            log = gateway.log(CALLBACKS).read_text()
            assert "451" in log
            assert "try again later" in log
            assert PASSWORD not in log
            assert LowBalance.objects.get().mail_at is not None
            server.refusal = ""
            a_minute_passes()
            wait_for(
                lambda: metric_value(gateway, CALLBACKS, "low_balance_mails_total", outcome="sent") == 1, "the e-mail"
            )
            assert gateway.stop(CALLBACKS) == 0
    assert LowBalance.objects.get().mail_at is None
    [received] = server.received
    assert (received.sender, received.recipients) == ("billing@gateway.example", ["ops@bazaar.example"])
    assert (received.encrypted, received.user, server.refused) == (True, USER, 1)
    assert received.message["From"] == "Gateway <billing@gateway.example>"
    assert received.message["Subject"] == "Your SMS balance is low: 123.45 IRR"
    assert "The balance of بازار is 123.45 IRR" in received.message.get_content()


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_an_email_comes_however_the_server_is_spoken_to(
    db: None, low_customer: LowCustomer, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, security: str
) -> None:
    low_customer()
    low_balances_notify()
    with mail_server(security) as server, sending_to(server, security, settings):
        monkeypatch.setenv("SSL_CERT_FILE", trusted(server, tmp_path))
        assert (mails_send(), mails_send()) == (1, 0)
    [received] = server.received
    assert (received.encrypted, received.user) == ((False, "") if security == "none" else (True, USER))


@pytest.mark.parametrize("wrong", ["login", "certificate", "server"])
def test_an_email_waits_while_the_server_cannot_be_used(
    db: None, low_customer: LowCustomer, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    """A wrong password, a certificate that nobody vouches for, and nobody who listens."""
    low_customer()
    low_balances_notify()
    sent, failed = outcomes()
    with mail_server("starttls") as server:
        if wrong != "certificate":
            monkeypatch.setenv("SSL_CERT_FILE", trusted(server, tmp_path))
        with sending_to(server, "starttls", settings, password="wrong" if wrong == "login" else PASSWORD):
            if wrong == "server":
                settings.EMAIL_PORT = 1
            assert mails_send() == 0
        assert outcomes() == (sent, failed + 1)
        monkeypatch.setenv("SSL_CERT_FILE", trusted(server, tmp_path))
        with sending_to(server, "starttls", settings):
            assert mails_send() == 0  # not before a minute is over
            a_minute_passes()
            assert mails_send() == 1
    assert len(server.received) == 1
    assert outcomes() == (sent + 1, failed + 1)


def test_an_address_that_cannot_be_written_to_keeps_no_others_from_theirs(
    db: None, low_customer: LowCustomer, settings: Any
) -> None:
    """As a script may have left it: no form takes such an address."""
    for address in ("a@b.example\nBcc: c@d.example", "@", "ops@bazaar.example"):
        low_customer(address)
    low_balances_notify()
    sent, failed = outcomes()
    with mail_server("none") as server, sending_to(server, "none", settings):
        mails_send()
    assert [received.recipients for received in server.received] == [["ops@bazaar.example"]]
    assert outcomes() == (sent + 1, failed + 2)

"""Notifies customers of a low balance: by a signed callback and by e-mail.

A thread of the callbacks process checks every `CALLBACK_LOW_BALANCE_CHECK` seconds. It also sends the e-mails about
paused endpoints. The mark that a balance is low and the callback commit together. An e-mail is sent at least once: it
is tried again each minute until the server accepts it.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import Error as DatabaseError
from django.db import connection, transaction

from apps.balance import low_balance as alerts
from apps.customers.models import CallbackEndpoint
from apps.sms.callbacks.pause_mails import pause_mails_send
from apps.sms.models import Callback
from smsgateway import ids, money
from smsgateway.mail import mail_send
from smsgateway.metrics import CALLBACKS_ENQUEUED, LOW_BALANCE_MAILS, LOW_BALANCES

log = structlog.get_logger(__name__)

_LEASE_SECONDS: Final = 60.0
_MAILS: Final = 50
_BODY: Final = """\
The balance of {name} is {balance}. You asked for a notice when it is below {threshold}.

Messages are refused when the balance does not cover them. You get this notice once, and again after a top-up.

Customer: {customer_id}
"""


@transaction.atomic
def low_balances_notify() -> int:
    """Enqueue a callback and an e-mail for each balance that fell below its threshold. Returns how many balances."""
    low = alerts.low_balances_mark()
    if not low:
        return 0
    with_endpoint = set(
        CallbackEndpoint.objects.filter(
            customer_id__in=[found.customer_id for found in low], disabled_at=None
        ).values_list("customer_id", flat=True)
    )
    callbacks = [
        Callback(
            customer_id=found.customer_id,
            event=Callback.LOW_BALANCE,
            at=found.at,
            next_at=found.at,
            data={
                "customer_id": ids.to_text(found.customer_id),
                "balance": found.balance,
                "threshold": found.threshold,
                "currency": found.currency,
            },
        )
        for found in low
        if found.customer_id in with_endpoint
    ]
    Callback.objects.bulk_create(callbacks)
    transaction.on_commit(lambda: CALLBACKS_ENQUEUED.inc(len(callbacks)))
    transaction.on_commit(lambda: LOW_BALANCES.inc(len(low)))
    for found in low:
        log.info("low_balance", customer_id=ids.to_text(found.customer_id), balance=found.balance)
    return len(low)


def mails_send() -> int:
    """Send the e-mails that are due. Returns how many the server accepted."""
    if not settings.EMAIL_HOST:
        return 0
    sent = 0
    for mail in alerts.mails_claim(lease_seconds=_LEASE_SECONDS, count=_MAILS):
        error = mail_send(_message(mail))
        if error is not None:
            LOW_BALANCE_MAILS.labels("failed").inc()
            log.error("low_balance_mail_waits", customer_id=ids.to_text(mail.customer_id), error=str(error))
        else:
            LOW_BALANCE_MAILS.labels("sent").inc()
            alerts.mail_sent(mail)
            sent += 1
    return sent


def _message(mail: alerts.Mail) -> EmailMessage:
    balance = money.with_currency(mail.balance, mail.currency)
    body = _BODY.format(
        name=mail.name,
        balance=balance,
        threshold=money.with_currency(mail.threshold, mail.currency),
        customer_id=ids.to_text(mail.customer_id),
    )
    return EmailMessage(f"Your SMS balance is low: {balance}", body, to=[mail.address])


class LowBalanceWatch:
    """A thread that checks every `seconds` until `stopping` is set. Leaving the context waits for its end."""

    def __init__(self, stopping: threading.Event, *, seconds: float) -> None:
        self._stopping = stopping
        self._seconds = seconds
        self._is_database_down = False
        self._thread = threading.Thread(target=self._run, name="low-balance", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_raised: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._seconds):
                self._check()
        finally:
            connection.close()

    def _check(self) -> None:
        try:
            while low_balances_notify():
                pass
            mails_send()
            pause_mails_send()
        except DatabaseError as error:
            if not self._is_database_down:
                log.error("low_balances_wait", away="database", error=str(error).strip())
            self._is_database_down = True
            connection.close()
        except Exception:
            log.exception("low_balances_failed_unexpectedly")  # a bug must not end the thread
        else:
            self._is_database_down = False

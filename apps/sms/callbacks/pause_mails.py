"""Sends an e-mail to each customer whose callback endpoint stays paused, once each time that it is paused."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection

from apps.customers.models import CallbackHealth
from smsgateway import ids
from smsgateway.mail import mail_send
from smsgateway.metrics import CALLBACK_MAILS

log = structlog.get_logger(__name__)

_LEASE_SECONDS: Final = 60.0
_MAILS: Final = 50
_CLAIM: Final = """
UPDATE customers_callbackhealth AS health
   SET mail_at = statement_timestamp() + make_interval(secs => %s)
  FROM customers_customer AS customer, customers_callbackendpoint AS endpoint
 WHERE health.id IN (
           SELECT id FROM customers_callbackhealth
            WHERE mail_at <= statement_timestamp() ORDER BY mail_at LIMIT %s FOR UPDATE SKIP LOCKED)
   AND customer.id = health.customer_id
   AND endpoint.customer_id = health.customer_id
RETURNING health.id, health.customer_id, health.mail_at, health.failing_since, health.failures, health.last_error,
          customer.name, customer.email, endpoint.url
"""
_BODY: Final = """\
All calls to the callback endpoint of {name} have failed since {since}:

{url}

Calls that failed: {failures}. The last error: {error}.

Callbacks wait, and one call at a time probes the endpoint. When a probe gets a 2xx response, all waiting callbacks are
sent. Callbacks whose last retry is over by then have failed: find them in the log of callbacks, and replay them. If the
endpoint has moved, set its new URL.

Customer: {customer_id}
"""


class _Mail(NamedTuple):
    """An e-mail that this process may send until `lease`."""

    id: int
    customer_id: UUID
    lease: dt.datetime
    failing_since: dt.datetime
    failures: int
    error: str
    name: str
    address: str
    url: str


def pause_mails_send() -> int:
    """Send the e-mails that are due. Returns how many the server accepted. The others are tried again in a minute."""
    if not settings.EMAIL_HOST:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [_LEASE_SECONDS, _MAILS])
        mails = [_Mail(*row) for row in cursor.fetchall()]
    sent = 0
    for mail in mails:
        error = mail_send(_message(mail))
        if error is not None:
            CALLBACK_MAILS.labels("failed").inc()
            log.error("callback_mail_waits", customer_id=ids.to_text(mail.customer_id), error=str(error))
        else:
            CALLBACK_MAILS.labels("sent").inc()
            CallbackHealth.objects.filter(id=mail.id, mail_at=mail.lease).update(mail_at=None)
            sent += 1
    return sent


def _message(mail: _Mail) -> EmailMessage:
    body = _BODY.format(
        name=mail.name,
        since=f"{mail.failing_since:%Y-%m-%d %H:%M} UTC",
        url=mail.url,
        failures=mail.failures,
        error=mail.error,
        customer_id=ids.to_text(mail.customer_id),
    )
    return EmailMessage("Your SMS callback endpoint does not answer", body, to=[mail.address])

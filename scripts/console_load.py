"""Measures how fast the admin's pages open on a large database: python -m scripts.console_load [--messages 20000000]

Creates a database of its own on the server of DATABASE_URL, fills it with SQL, opens each list and search several times
in this process, prints a JSON line per page with the median in milliseconds, and drops the database. Exits with 1 if a
median is above --limit. 20,000,000 messages take 20 GB of disk meanwhile.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import sys
import time
from typing import Any
from uuid import UUID

import psycopg

NAME = "smsgateway_console_load"
DAYS = 10
# A ULID for the i-th of n rows, spread evenly over the last days: its time, then i.
ULID = "(lpad(to_hex(({first} + i * {step})::bigint), 12, '0') || lpad(to_hex(i::bigint), 20, '0'))::uuid"
# Every tenth message belongs to the largest customer; the others are spread.
CUSTOMER = (
    "(lpad(to_hex(1), 12, '0') || "
    "lpad(to_hex(CASE WHEN i % 10 = 0 THEN 1 ELSE i * 7919 % {customers} + 1 END), 20, '0'))::uuid"
)

FILL = (
    (
        "customers",
        """
        INSERT INTO customers_customer (id, name, status, segments_per_second, refund_on, created_at, phone)
        SELECT (lpad(to_hex(1), 12, '0') || lpad(to_hex(i), 20, '0'))::uuid, 'Shop ' || md5(i::text),
               CASE WHEN i % 50 = 0 THEN 'suspended' ELSE 'active' END, 100, '{{failed}}', now(),
               '+98912' || lpad(i::text, 7, '0')
          FROM generate_series(1, {customers}) AS i;
        INSERT INTO balance_account (customer_id, balance, entries, currency)
        SELECT id, 1000000000, {messages}, 'IRR' FROM customers_customer;
        INSERT INTO balance_lowbalance (customer_id, threshold)
        SELECT id, CASE WHEN random() < 0.01 THEN 2000000000 ELSE 1000 END FROM customers_customer LIMIT {customers} / 5
     """,
    ),
    (
        "messages",
        """
        INSERT INTO sms_message (id, customer_id, recipient, sender, text, encoding, segments, cost, operator,
                                 reference, expires_at, priority, callback_url)
        SELECT {ulid}, {customer}, '+98912' || lpad((i * 104729 % 10000000)::text, 7, '0'), 'Shop',
               'Your code is ' || i, 'gsm7', 1, 100, 'mci', CASE WHEN i % 2 = 0 THEN 'order-' || i / 4 ELSE '' END,
               now(), 'normal', ''
          FROM generate_series({low}::bigint, {high}) AS i
     """,
    ),
    (
        "statuses",
        """
        INSERT INTO sms_statusentry (message_id, status, at, operator, operator_message_id, error, attempt)
        SELECT {ulid}, CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'delivered' END, now(), 'mci', '', '', 1
          FROM generate_series({low}::bigint, {high}) AS i
     """,
    ),
    (
        "ledger",
        """
        INSERT INTO balance_ledgerentry (id, customer_id, entry, kind, amount, balance_after, message_id, reference)
        SELECT {ulid}, {customer}, i, CASE WHEN i % 1000 = 7 THEN 'topup' ELSE 'charge' END, -100, 1000000000, {ulid},
               CASE WHEN i % 1000 = 7 THEN 'payment ' || i ELSE '' END
          FROM generate_series({low}::bigint, {high}) AS i
     """,
    ),
    (
        "callbacks",
        """
        INSERT INTO sms_callback (id, customer_id, message_id, event, at, url, status, attempts, last_url, last_error)
        SELECT {ulid}, {customer}, {ulid}, 'delivered', now(), '',
               CASE WHEN i % 5000 = 0 THEN 'failed' ELSE 'delivered' END, 1, 'https://shop.example/sms', ''
          FROM generate_series({low}::bigint, {high}, 10) AS i
     """,
    ),
    (
        "acts",
        """
        INSERT INTO console_act (id, user_id, user_name, act, customer_id, subject, why, details)
        SELECT {ulid}, 1, 'user' || i % 20, 'balance.topup', {customer}, 'x', '', '{{}}'
          FROM generate_series({low}::bigint, {high}, 100) AS i
     """,
    ),
    (
        "rates",
        """
        INSERT INTO sms_rate (customer_id, prefix, price)
        SELECT NULL, i::text, 100 FROM generate_series(1, 5000) AS i
     """,
    ),
)
LATER = ("sms_message_customer", "sms_message_recipient", "sms_message_reference", "balance_ledgerentry_customer")
CHUNK = 2_000_000


def main() -> int:
    options = _options()
    _own_database(drop=False)
    try:
        import django

        django.setup()
        _fill(options)
        return _measure(options)
    finally:
        from django.db import connection

        connection.close()
        _own_database(drop=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=11, help="How often each page is opened.")
    parser.add_argument("--limit", type=float, default=300.0, help="Largest median, in milliseconds.")
    return parser.parse_args()


def _own_database(*, drop: bool) -> None:
    """Create the database again and let the settings use it; or drop it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")
    from django.conf import settings

    with psycopg.connect(settings.CONFIG.database.url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        if not drop:
            server.execute(f"CREATE DATABASE {NAME}")
            settings.DATABASES["default"]["NAME"] = NAME


def _fill(options: argparse.Namespace) -> None:
    from django.core.management import call_command
    from django.db import connection

    from smsgateway import partitions

    call_command("migrate", verbosity=0)
    today = dt.datetime.now(tz=dt.UTC)
    partitions.create(first=today.date() - dt.timedelta(days=DAYS), days=DAYS)
    first = int((today - dt.timedelta(days=DAYS)).timestamp() * 1000) + 60_000
    step = (DAYS * 86_400_000 - 120_000) / options.messages
    ulid = ULID.format(first=first, step=step)
    customer = CUSTOMER.format(customers=options.customers)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET synchronous_commit = off; SET maintenance_work_mem = '512MB'")
        definitions = []
        for index in LATER:
            cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [index])
            definitions.append(cursor.fetchone()[0].replace(" ON ONLY ", " ON "))
            cursor.execute(f"DROP INDEX {index}")
        for name, statement in FILL:
            started = time.perf_counter()
            is_large = "{low}" in statement
            for low in range(1, options.messages + 1 if is_large else 2, CHUNK):
                high = min(low + CHUNK - 1, options.messages)
                names = {"messages": options.messages, "customers": options.customers, "low": low, "high": high}
                cursor.execute(statement.format(ulid=ulid, customer=customer, **names))
            _say(filled=name, seconds=round(time.perf_counter() - started, 1))
        for definition in definitions:
            cursor.execute(definition)
        cursor.execute("ANALYZE")
        for table in ("sms_message", "sms_statusentry", "balance_ledgerentry"):
            cursor.execute(
                f"SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = '{table}'::regclass"
            )
            _say(table=table, megabytes=int(cursor.fetchone()[0]) // 1_000_000)


def _pages(options: argparse.Namespace) -> dict[str, str]:
    from apps.sms.models import Message
    from smsgateway import ids

    largest = ids.to_text(UUID(int=(1 << 80) + 1))
    small = ids.to_text(UUID(int=(1 << 80) + min(777, options.customers)))
    back = options.messages // 20 if options.messages < 1_000_000 else 50_000
    message = Message.objects.exclude(reference="").order_by("-id")[back]
    number = f"%2B{message.recipient[1:]}"
    lists = "/admin/customers/customer/"
    console = "/admin/console/"
    year = "since=" + (dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=DAYS)).isoformat()
    return {
        "start": "/admin/",
        "customers": lists,
        "customers, page 200": f"{lists}?p=200",
        "customers by status": f"{lists}?status__exact=suspended",
        "customers with a low balance": f"{lists}?balance=low",
        "customers by a part of the name": f"{lists}?q=c4ca42",
        "customers by a name that nobody has": f"{lists}?q=no+such+shop",
        "customers by id": f"{lists}?q={small}",
        "customers by number": f"{lists}?q=09120000777",
        "customer": f"{console}customers/{small}/",
        "customer, the largest": f"{console}customers/{largest}/",
        "ledger": f"{console}customers/{small}/ledger/",
        "ledger of the largest": f"{console}customers/{largest}/ledger/",
        "ledger of the largest, top-ups": f"{console}customers/{largest}/ledger/?kind=topup",
        "keys": f"{console}customers/{small}/keys/",
        "messages": f"{console}messages/",
        "messages of ten days": f"{console}messages/?{year}",
        "messages by number": f"{console}messages/?{year}&q={number}",
        "messages by reference": f"{console}messages/?{year}&q={message.reference}",
        "messages by a reference that nobody has": f"{console}messages/?{year}&q=nothing",
        "messages of a customer": f"{console}messages/?{year}&customer={small}",
        "messages of the largest": f"{console}messages/?{year}&customer={largest}",
        "messages of the largest to a number": f"{console}messages/?{year}&customer={largest}&q={number}",
        "messages, far back": f"{console}messages/?{year}&before={message.id.int}",
        "message": f"{console}messages/{ids.to_text(message.id)}/",
        "callbacks": f"{console}callbacks/",
        "callbacks that failed": f"{console}callbacks/?status=failed",
        "callbacks of a customer": f"{console}callbacks/?customer={small}",
        "callbacks of a message": f"{console}callbacks/?message={ids.to_text(message.id)}",
        "audit log": f"{console}audit/",
        "audit log of a person": f"{console}audit/?who=user7",
        "audit log of a customer": f"{console}audit/?customer={small}",
        "rates": "/admin/sms/rate/",
        "rates by prefix": "/admin/sms/rate/?q=491",
        "routes": "/admin/sms/route/",
        "stuck": f"{console}stuck/",
        "operators": f"{console}operators/",
        "dead letters": f"{console}dead-letters/",
    }


def _measure(options: argparse.Namespace) -> int:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("load"))
    slow = []
    for name, page in _pages(options).items():
        taken = []
        for _ in range(options.times):
            started = time.perf_counter()
            answered = client.get(page)
            taken.append((time.perf_counter() - started) * 1000)
            if answered.status_code != 200:
                raise SystemExit(f"{page} answered {answered.status_code}")
        median = statistics.median(taken)
        _say(page=name, median=round(median, 1), longest=round(max(taken), 1))
        if median > options.limit:
            slow.append(name)
    _say(messages=options.messages, customers=options.customers, too_slow=slow)
    return 1 if slow else 0


def _say(**figures: Any) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

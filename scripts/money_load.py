"""Top-ups, adjustments and sends on one account at once: python -m scripts.money_load [--seconds 60]

Uses the database of DATABASE_URL, with a customer of its own. Prints a JSON line: how many of each were booked, how
many were refused for want of balance, and whether the balance is the sum of the ledger with nothing negative, no gap.
Ends with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any
from uuid import UUID

SENDERS, PAYERS = 6, 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")
    import django

    django.setup()
    figures = run(seconds=options.seconds)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if figures["right"] else 1


def run(*, seconds: float) -> dict[str, Any]:
    """Let threads use one account for this long. Returns their counts, and whether the books are right."""
    from apps.balance.services import prepaid_customer_create

    customer = prepaid_customer_create(name="money load", segments_per_second=1000, currency="IRR")
    done: Counter[str] = Counter()
    errors: list[BaseException] = []
    deadline = time.monotonic() + seconds

    def work(act: Any, number: int) -> None:
        from django.db import connection

        chance = random.Random(number)
        try:
            while time.monotonic() < deadline and not errors:
                done[act(customer.pk, chance)] += 1
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(_send, number)) for number in range(SENDERS)]
    threads += [threading.Thread(target=work, args=(_pay, number)) for number in range(PAYERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return dict(sorted(done.items())) | _checked(customer.pk)


def _send(customer_id: UUID, chance: random.Random) -> str:
    from django.conf import settings

    from apps.balance.errors import InsufficientBalance
    from apps.sms.accept.drafts import Draft
    from apps.sms.accept.service import messages_accept

    draft = Draft("+989121234567", "Shop", "hello", "gsm7", 1, chance.choice((100, 350)), 1_900_000_000_000)
    try:
        messages_accept(customer_id=customer_id, drafts=[draft] * chance.choice((1, 1, 7)), config=settings.CONFIG)
    except InsufficientBalance:
        return "sends_refused"
    return "sends"


def _pay(customer_id: UUID, chance: random.Random) -> str:
    from apps.balance.errors import InsufficientBalance
    from apps.balance.services import account_adjust, account_top_up_once

    if chance.random() < 0.3:
        try:
            account_adjust(customer_id=customer_id, amount=chance.choice((-5000, -200, 300)), reason="load")
        except InsufficientBalance:
            return "adjustments_refused"
        return "adjustments"
    amount, reference = chance.choice((1000, 5000)), f"payment {chance.random()}"
    for is_new in (True, False):  # each is sent twice
        booked = account_top_up_once(customer_id=customer_id, amount=amount, reference=reference)
        assert booked.is_new == is_new, reference  # noqa: S101
    return "top_ups"


def _checked(customer_id: UUID) -> dict[str, Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT account.balance, account.entries, count(*), sum(amount)::bigint, min(balance_after), max(entry),
                   count(*) FILTER (WHERE entry.balance_after <> entry.before + entry.amount)
              FROM balance_account AS account
              JOIN (SELECT *, lag(balance_after, 1, 0::bigint) OVER (ORDER BY entry) AS before FROM balance_ledgerentry
                     WHERE customer_id = %s) AS entry USING (customer_id)
             GROUP BY account.balance, account.entries
            """,
            [customer_id],
        )
        balance, entries, count, total, lowest, last, wrong = cursor.fetchone()
    right = balance == total >= 0 and entries == count == last and lowest >= 0 and not wrong
    return {"balance": balance, "ledger_sum": total, "lowest": lowest, "entries": entries, "right": right}


if __name__ == "__main__":
    sys.exit(main())

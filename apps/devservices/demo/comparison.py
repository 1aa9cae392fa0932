"""Compares the API's answers, PostgreSQL, the operators and the reporting API: all must agree."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from apps.devservices.demo.ledger import Books, Message
from apps.devservices.demo.sender import Answers, UnexpectedAnswer
from apps.sms import statuses
from smsgateway import ids

ENDS: Final = ("delivered", "undelivered", "failed", "rejected", "expired", "canceled")
_REACHED_OPERATOR: Final = frozenset({statuses.SUBMITTED, statuses.UNDELIVERED, statuses.DELIVERED})
_TIMEOUT: Final = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Customer:
    """One customer: the API's answers, and the account and messages in PostgreSQL."""

    name: str
    id: str
    answers: Answers
    books: Books

    @property
    def ends(self) -> Counter[str]:
        """Messages by their status."""
        return Counter(message.status for message in self.books.messages.values())

    def lost(self, taken_by_operators: set[str]) -> list[str]:
        """Accepted messages without a final status, or that should have reached an operator and did not."""
        return [text for text in self.answers.message_ids if not self._is_safe(text, taken_by_operators)]

    def _is_safe(self, text: str, taken_by_operators: set[str]) -> bool:
        message = self.books.messages.get(ids.from_text(text))
        if message is None or not message.is_final:
            return False
        return text in taken_by_operators or not _REACHED_OPERATOR & message.reached.keys()

    def faults(self) -> list[str]:
        """The faults of the account."""
        found = self.books.faults()
        if self.books.spent != self.answers.spent:
            found.append(f"the API charged {self.answers.spent}, the ledger has {self.books.spent}")
        if {ids.from_text(text) for text in self.answers.message_ids} != self.books.messages.keys():
            found.append("the stored messages are not those that the API accepted")
        return [f"{self.name}: {fault}" for fault in found]

    def statistics(self) -> dict[str, int]:
        """The totals that the reporting API should have for this customer."""
        messages: list[Message] = list(self.books.messages.values())
        ends = self.ends
        return {
            "accepted": len(messages),
            "segments": sum(message.segments for message in messages),
            "cost": sum(message.cost for message in messages),
            **{end: ends[end] for end in ENDS},
            "pending": len(messages) - sum(ends[end] for end in ENDS),
            "refunded": self.books.refunded,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the demo. The invariants hold if there are no lost messages, duplicates or faults."""

    sent: int
    customers: list[Customer]
    lost: int
    duplicates: int
    ledger_faults: list[str]
    reporting_faults: list[str]

    @property
    def holds(self) -> bool:
        return not (self.lost or self.duplicates or self.ledger_faults or self.reporting_faults)

    def summary(self) -> dict[str, int | bool]:
        """The counts of messages. `failed`: accepted messages that were not delivered, for any reason."""
        accepted = sum(len(customer.answers.message_ids) for customer in self.customers)
        ends = Counter[str]()
        for customer in self.customers:
            ends += customer.ends
        return {
            "sent": self.sent,
            "accepted": accepted,
            "refused": sum(customer.answers.refused.total() for customer in self.customers),
            "delivered": ends[statuses.DELIVERED],
            "failed": sum(ends[end] for end in ENDS if end != statuses.DELIVERED),
            "refunded": sum(len(customer.books.amounts("refund")) for customer in self.customers),
            "lost": self.lost,
            "duplicates": self.duplicates,
            "ledger_ok": not self.ledger_faults,
            "reporting_ok": not self.reporting_faults,
        }


def judge(*, sent: int, customers: list[Customer], simulator_url: str, reporting_faults: list[str]) -> Verdict:
    """Compare all sides. Raises UnexpectedAnswer."""
    summary: dict[str, dict[str, int]] = get_json(f"{simulator_url}/control/summary")
    submits: list[dict[str, str]] = get_json(f"{simulator_url}/control/messages")
    taken = {submit["reference"] for submit in submits if submit["outcome"] == "accepted"}
    accepted = [text for customer in customers for text in customer.answers.message_ids]
    ledger_faults = [fault for customer in customers for fault in customer.faults()]
    if sent != len(accepted) + sum(customer.answers.refused.total() for customer in customers):
        ledger_faults.append("some messages were neither accepted nor refused")
    return Verdict(
        sent=sent,
        customers=customers,
        lost=sum(len(customer.lost(taken)) for customer in customers),
        duplicates=sum(operator["duplicates"] for operator in summary.values()) + len(accepted) - len(set(accepted)),
        ledger_faults=ledger_faults,
        reporting_faults=reporting_faults,
    )


def reporting_differences(*, reporting_url: str, books: Mapping[str, Customer]) -> list[str]:
    """The totals by minute and by day that differ from PostgreSQL. Raises UnexpectedAnswer."""
    found = []
    for customer in books.values():
        expected = customer.statistics()
        for interval in ("minute", "daily"):
            totals = get_json(f"{reporting_url}/v1/stats/{interval}?{_range(customer)}")["totals"]
            found += [
                f"{customer.name} by {interval}: {name} is {totals[name]}, in PostgreSQL {value}"
                for name, value in expected.items()
                if totals[name] != value
            ]
    return found


def _range(customer: Customer) -> str:
    """Every whole day in which this customer's messages were accepted."""
    days = [ids.moment(message_id).date() for message_id in customer.books.messages] or [dt.datetime.now(dt.UTC).date()]
    until = max(days) + dt.timedelta(days=1)
    return urlencode({"customer_id": customer.id, "from": min(days).isoformat(), "to": until.isoformat()})


def get_json(url: str) -> Any:
    """The JSON document at `url`. Raises UnexpectedAnswer."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise UnexpectedAnswer(
            f"GET {url} answered {error.code}: {error.read().decode(errors='replace')[:300]}"
        ) from None
    except OSError as error:
        raise UnexpectedAnswer(f"GET {url}: {error}.") from None


def uuids(customer_ids: Mapping[str, str]) -> list[UUID]:
    """The customers' ids as UUIDs."""
    return [ids.from_text(text) for text in customer_ids.values()]

"""The routing table: which connections a message is tried on, and in which order. See docs/reference/routing.md.

Of the routes whose conditions a message meets, the one with the lowest rank is taken; among equal ranks the longest
prefix, then one for the customer, then one for the sender, then one for the carrier, then the oldest.
"""

from __future__ import annotations

import itertools
import zlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from apps.sms import events
from apps.sms.numbers import ascii_digits

# More than enough for the combinations of customer, sender, carrier and prefix that routes distinguish, but bounded.
_REMEMBERED: Final = 50_000
_GOLDEN: Final = 0x9E3779B1  # Knuth's multiplicative hash: spreads values that CRC-32 leaves close together
_WORD: Final = 0xFFFFFFFF

# Of the routes that match, the one with the smallest of these is taken: rank, prefix length (negative), no customer, no
# sender, no carrier, id.
_Standing = tuple[int, int, bool, bool, bool, int]


class Plan:
    """The connections of one route. `usual` is the order that most messages take."""

    def __init__(self, targets: Iterable[events.RouteTarget]) -> None:
        preferred = sorted(targets, key=lambda target: (target.preference, -target.weight, target.operator))
        groups = [list(group) for _, group in itertools.groupby(preferred, key=lambda target: target.preference)]
        self.usual: Final = tuple(target.operator for target in preferred)
        self.is_weighted: Final = any(len(group) > 1 for group in groups)
        self._groups: Final = [_Group(group) for group in groups]

    def order(self, message_id: str) -> tuple[str, ...]:
        """The names of the connections in the order to try. The same message gets the same order each time."""
        if not self.is_weighted:
            return self.usual
        number = zlib.crc32(message_id.encode())
        found: tuple[str, ...] = ()
        for group in self._groups:
            number = (number * _GOLDEN) & _WORD
            number ^= number >> 15
            found += group.order(number)
        return found


class _Group:
    """Targets of equal preference: one is drawn by weight, the others follow, the heaviest first."""

    def __init__(self, targets: list[events.RouteTarget]) -> None:
        names = [target.operator for target in targets]
        self._bounds = list(itertools.accumulate(target.weight for target in targets))
        self._orders = [(name, *(other for other in names if other != name)) for name in names]

    def order(self, number: int) -> tuple[str, ...]:
        """`number`: 32 bits, evenly spread."""
        return self._orders[bisect_right(self._bounds, (number * self._bounds[-1]) >> 32)]


class _Candidate(NamedTuple):
    standing: _Standing
    sender: str
    carrier: str
    plan: Plan


class RoutingTable:
    """A version of the routes. Threads may share it."""

    def __init__(
        self,
        published: events.RoutesPublished | None = None,
        *,
        carrier: Callable[[str], str | None],
        default: str,
        connections: Collection[str] | None = None,
    ) -> None:
        """`carrier`: returns the connection that an E.164 number's prefix leads to, if any. `default`: the connection
        of all other numbers. These two serve messages that no route matches: all of them, without `published`.

        `connections`: the existing ones. Other targets are ignored, and so are routes without any target left.
        """
        self.version: Final = published.version if published else 0
        self.unknown: Final[set[str]] = set()
        self._carrier = carrier
        self._default = default
        self._connections = connections
        self._by_place: dict[tuple[str, str], list[_Candidate]] = {}
        self._customers: set[str] = set()
        self._senders: set[str] = set()
        self._prefixes: set[str] = set()
        self._has_carriers = False
        self._remembered: dict[tuple[str, str, str | None, str], Plan | None] = {}
        self._built_in: dict[str, Plan] = {}
        self._count = 0
        for route in published.routes if published else ():
            self._add(route, connections)
        for candidates in self._by_place.values():
            candidates.sort(key=lambda candidate: candidate.standing)
        # The longest first: the first that matches is the longest that does.
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def __len__(self) -> int:
        """How many routes have a target."""
        return self._count

    @property
    def names_customers(self) -> bool:
        """Whether any route is for one customer."""
        return bool(self._customers)

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        """The names of the connections in the order to try: never empty, the same for each try of a message."""
        plan = self.plan(customer_id=message.customer_id, sender=message.sender, to=message.to)
        return plan.order(message.message_id) if plan.is_weighted else plan.usual

    def plan(self, *, customer_id: str, sender: str, to: str) -> Plan:
        """The plan of messages from this customer (ULID, or empty) and sender id to this E.164 number."""
        if not self._count:
            return self._fallback(self._carrier(to))
        if not sender.isascii():  # earlier versions stored digits of other scripts, in messages and in routes
            sender = ascii_digits(sender)
        prefix = ""
        for length in self._lengths:
            if (found := to[1 : length + 1]) in self._prefixes:
                prefix = found
                break
        carrier = self._carrier(to) if self._has_carriers else None
        # Only values that some route has a condition for are part of the key, so few entries serve many messages.
        key = (
            customer_id if customer_id in self._customers else "",
            sender if sender in self._senders else "",
            carrier,
            prefix,
        )
        try:
            plan = self._remembered[key]
        except KeyError:
            plan = self._search(*key)
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = plan
        return plan or self._fallback(carrier or self._carrier(to))

    def _add(self, route: events.Route, connections: Collection[str] | None) -> None:
        if connections is not None:
            self.unknown.update(target.operator for target in route.targets if target.operator not in connections)
        targets = [target for target in route.targets if target.operator not in self.unknown]
        if not targets:
            return
        self._count += 1
        plan = Plan(targets)
        sender = ascii_digits(route.sender)
        for prefix in route.prefixes or ("",):
            standing = (
                route.rank,
                -len(prefix),
                not route.customer_id,
                not route.sender,
                not route.carrier,
                route.id,
            )
            candidate = _Candidate(standing, sender, route.carrier, plan)
            self._by_place.setdefault((route.customer_id, prefix), []).append(candidate)
        self._prefixes.update(route.prefixes)
        if route.customer_id:
            self._customers.add(route.customer_id)
        if sender:
            self._senders.add(sender)
        self._has_carriers = self._has_carriers or bool(route.carrier)

    def _search(self, customer_id: str, sender: str, carrier: str | None, longest: str) -> Plan | None:
        best: _Candidate | None = None
        # Every prefix of the number that a route has is a prefix of the longest one.
        for length in range(len(longest) + 1):
            for customer in {customer_id, ""}:
                for candidate in self._by_place.get((customer, longest[:length]), ()):
                    if best is not None and best.standing < candidate.standing:
                        break
                    if candidate.sender in ("", sender) and candidate.carrier in ("", carrier):
                        best = candidate
                        break
        return best.plan if best else None

    def _fallback(self, carrier: str | None) -> Plan:
        is_known = carrier and (self._connections is None or carrier in self._connections)
        name = carrier if carrier and is_known else self._default
        plan = self._built_in.get(name)
        if plan is None:
            plan = self._built_in[name] = Plan([events.RouteTarget(operator=name)])
        return plan

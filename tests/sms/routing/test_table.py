"""Which connections a message is tried on: the rules, without any service."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from apps.sms import events
from apps.sms.routing.table import RoutingTable
from smsgateway import ids
from tests.support.delivery import requested

MCI, IRANCELL, ABROAD = "+989121234567", "+989351234567", "+447400123456"
CUSTOMER, OTHER = (ids.to_text(ids.new_id()) for _ in range(2))


def carrier(e164: str) -> str | None:
    return {"+98912": "mci", "+98935": "irancell"}.get(e164[:6])


def table(*routes: events.Route, **options: Any) -> RoutingTable:
    published = events.RoutesPublished(version=1, routes=routes)
    # As a worker gets it.
    return RoutingTable(events.decode_routes(events.encode(published)), carrier=carrier, default="mci", **options)


_count = iter(range(1, 10_000))


def route(to: str, rank: int = 100, **conditions: Any) -> events.Route:
    """A route to the connection `to`. Later ones have higher ids."""
    return events.Route(id=next(_count), rank=rank, targets=(events.RouteTarget(operator=to),), **conditions)


def to_many(*targets: tuple[str, int, int]) -> events.Route:
    """A route for all to `(connection, preference, weight)`."""
    made = tuple(events.RouteTarget(operator=name, preference=step, weight=weight) for name, step, weight in targets)
    return events.Route(id=next(_count), rank=100, targets=made)


def first(routes: RoutingTable, to: str = MCI, customer_id: str = CUSTOMER, sender: str = "Shop") -> str:
    return routes.choose(requested(to=to, customer_id=customer_id, sender=sender))[0]


def test_without_routes_the_prefix_decides_and_then_the_default() -> None:
    for built_in in (table(), RoutingTable(carrier=carrier, default="mci")):
        assert [first(built_in, to) for to in (MCI, IRANCELL, ABROAD)] == ["mci", "irancell", "mci"]


def test_what_no_route_matches_goes_as_without_routes() -> None:
    routes = table(route("a", prefixes=("98935",), customer_id=OTHER))
    assert [first(routes, to) for to in (MCI, IRANCELL, ABROAD)] == ["mci", "irancell", "mci"]
    assert first(routes, IRANCELL, OTHER) == "a"


def test_the_longest_prefix_wins_in_any_order_of_the_routes() -> None:
    made = [route("short", prefixes=("98",)), route("long", prefixes=("989121", "44")), route("all")]
    for routes in (table(*made), table(*reversed(made))):
        assert [first(routes, to) for to in (MCI, IRANCELL, ABROAD, "+93701234567")] == ["long", "short", "long", "all"]


# Each stands before all that follow it.
PRECEDENCE: list[dict[str, Any]] = [
    {"rank": 1},
    {"prefixes": ("98912",), "customer_id": CUSTOMER, "sender": "Shop", "carrier": "mci"},
    {"prefixes": ("98912",), "customer_id": CUSTOMER, "sender": "Shop"},
    {"prefixes": ("98912",), "customer_id": CUSTOMER, "carrier": "mci"},
    {"prefixes": ("98912",), "customer_id": CUSTOMER},
    {"prefixes": ("98912",), "sender": "Shop"},
    {"prefixes": ("98912",), "carrier": "mci"},
    {"prefixes": ("98912",)},
    {"prefixes": ("98",), "customer_id": CUSTOMER},
    {"prefixes": ("98",)},
    {"customer_id": CUSTOMER, "sender": "Shop"},
    {"customer_id": CUSTOMER, "carrier": "mci"},
    {"customer_id": CUSTOMER},
    {"sender": "Shop", "carrier": "mci"},
    {"sender": "Shop"},
    {"carrier": "mci"},
    {},
    {"rank": 101, "prefixes": ("98912",), "customer_id": CUSTOMER, "sender": "Shop", "carrier": "mci"},
]


@pytest.mark.parametrize("position", range(len(PRECEDENCE) - 1))
def test_a_more_specific_route_comes_before_each_less_specific_one(position: int) -> None:
    ahead, *behind = PRECEDENCE[position:]
    made = [*(route("behind", **conditions) for conditions in behind), route("ahead", **ahead)]
    assert first(table(*made)) == "ahead"
    assert first(table(*reversed(made))) == "ahead"


@pytest.mark.parametrize(
    "conditions",
    [{"customer_id": OTHER}, {"sender": "shop"}, {"carrier": "irancell"}, {"prefixes": ("9891212345678", "97")}],
)
def test_a_route_whose_condition_is_not_met_is_not_taken(conditions: dict[str, Any]) -> None:
    assert first(table(route("a", rank=1, **conditions), route("b"))) == "b"


@pytest.mark.parametrize("of_route", ["98100", "۹۸۱۰۰"])
@pytest.mark.parametrize("of_message", ["98100", "۹۸۱۰۰", "٩٨١٠٠"])
def test_a_sender_of_earlier_versions_finds_its_route(of_route: str, of_message: str) -> None:
    routes = table(route("his", sender=of_route))
    assert first(routes, sender=of_message) == "his"
    assert first(routes, sender="98101") != "his"


def test_among_equals_the_oldest_route_is_taken() -> None:
    made = [route("older", prefixes=("98912",)), route("newer", prefixes=("98912",))]
    assert first(table(*reversed(made))) == "older"


def test_an_answer_that_was_remembered_is_for_that_customer_sender_and_prefix_only() -> None:
    routes = table(
        route("his", customer_id=CUSTOMER), route("shops", sender="Shop"), route("near", prefixes=("98912",))
    )
    for _ in range(2):
        assert first(routes, ABROAD) == "his"
        assert first(routes, ABROAD, OTHER) == "shops"
        assert first(routes, ABROAD, OTHER, "Bank") == "mci"
        assert first(routes, MCI, OTHER, "Bank") == "near"


def test_weights_share_the_messages_and_a_message_keeps_its_order() -> None:
    routes = table(to_many(("a", 1, 70), ("b", 1, 30), ("c", 2, 1), ("d", 2, 1), ("e", 3, 1)))
    # A batch: ids that follow each other.
    messages = [requested(message_id=ids.to_text(id_)) for id_ in ids.new_ids(10_000)]
    orders = [routes.choose(message) for message in messages]
    assert [routes.choose(message) for message in messages] == orders
    shares = Counter(order[0] for order in orders)
    assert set(shares) == {"a", "b"}
    assert 6700 < shares["a"] < 7300
    # Who fails over from a is spread as well.
    assert 3000 < sum(order[:3] == ("a", "b", "c") for order in orders) < 4000
    assert all(set(order[:2]) == {"a", "b"} and set(order[2:4]) == {"c", "d"} and order[4] == "e" for order in orders)


def test_failover_follows_the_preference() -> None:
    routes = table(to_many(("third", 7, 1), ("first", 1, 1), ("second", 2, 1000)))
    assert routes.choose(requested()) == ("first", "second", "third")


def test_connections_that_are_not_there_are_left_out() -> None:
    routes = table(route("gone", rank=1), to_many(("gone", 1, 9), ("here", 2, 1)), connections={"here", "mci"})
    assert routes.choose(requested()) == ("here",)
    assert (routes.unknown, len(routes)) == ({"gone"}, 1)


def test_the_table_needs_no_django() -> None:
    code = "import sys; from apps.sms.routing import table; print('django.conf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_choice_among_a_thousand_routes_looks_at_few_of_them() -> None:
    """A guard of speed that no clock measures: Python lines run for a message that differs from all before it."""
    made = [
        route("a", prefixes=(f"98{number:04}",), customer_id=ids.to_text(ids.new_id()) if number % 3 else "")
        for number in range(1000)
    ]
    routes = table(*made)
    lines = 0

    def count(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    message = requested(to="+980500123456")
    previous = sys.gettrace()
    sys.settrace(count)
    try:
        routes.choose(message)
    finally:
        sys.settrace(previous)
    assert lines < 200

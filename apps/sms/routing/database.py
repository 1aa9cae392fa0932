"""Routing while a message is accepted or estimated, by the routing table in PostgreSQL.

The result (the message's `operator`, an estimate's price) is the first choice at that moment. The worker chooses again
at each try, by the table that is in force then.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from apps.sms import events
from apps.sms.operators import registry
from apps.sms.routing.table import RoutingTable
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.ttl_cache import Remembered

# Returns the first choice for a sender id, E.164 number and message id; without a message id that of most messages.
FirstChoice = Callable[[str, str, UUID | None], str]

_VERSION: Final = "SELECT version FROM sms_routingversion"

# One statement, so one snapshot: a version always comes with its own routes, and a route with its targets.
_ROUTES: Final = """
SELECT now.version, route.id, route.rank, route.customer_id, route.prefixes, route.sender, route.carrier,
       target.operator, target.preference, target.weight
  FROM sms_routingversion AS now
  LEFT JOIN (sms_route AS route JOIN sms_routetarget AS target ON target.route_id = route.id AND route.enabled) ON true
 ORDER BY route.id, target.preference, target.id
"""


def connection_names(config: Config) -> tuple[str, ...]:
    """The names of the configured operator connections, to which routes may lead."""
    return tuple(sorted(registry.names(config)))


def carrier(e164: str) -> str | None:
    """The configured operator that an E.164 number's prefix belongs to, if any."""
    return registry.route(e164, "") or None


def version_read() -> int:
    """The version of the routing table in the database. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_VERSION)
        version: int = cursor.fetchone()[0]
    return version


def routes_read() -> events.RoutesPublished:
    """The routing table in the database. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_ROUTES)
        rows = cursor.fetchall()
    routes = []
    for (id_, rank, customer_id, prefixes, sender, served), targets in groupby(rows, key=lambda row: row[1:7]):
        if id_ is not None:  # else there are no routes
            route = events.Route(
                id=id_,
                rank=rank,
                customer_id=ids.to_text(customer_id) if customer_id else "",
                prefixes=tuple(prefixes),
                sender=sender,
                carrier=served,
                targets=tuple(
                    events.RouteTarget(operator=operator, preference=preference, weight=weight)
                    for *_, operator, preference, weight in targets
                ),
            )
            routes.append(route)
    return events.RoutesPublished(version=rows[0][0], routes=tuple(routes))


def first_choices(*, customer_id: UUID | None, config: Config) -> FirstChoice:
    """A function that returns the first choice for this customer's messages. Raises django.db.OperationalError."""
    default = config.routing.default
    table = _TABLES.get(default, max_age=config.sms.routes_refresh)
    if not len(table):
        known = frozenset(registry.names(config))
        return lambda _sender, to, _message_id: registry.route(to, default, known=known)
    customer = ids.to_text(customer_id) if customer_id and table.names_customers else ""

    def first_choice(sender: str, to: str, message_id: UUID | None) -> str:
        plan = table.plan(customer_id=customer, sender=sender, to=to)
        if message_id is None or not plan.is_weighted:
            return plan.usual[0]
        return plan.order(ids.to_text(message_id))[0]

    return first_choice


def _table(default: str) -> RoutingTable:
    """The newest table. It is built again only when the version has changed."""
    held = _HELD.get(default)
    if held is not None and held.version == version_read():
        return held
    names = connection_names(settings.CONFIG)
    table = _HELD[default] = RoutingTable(routes_read(), carrier=carrier, default=default, connections=names)
    return table


_HELD: Final[dict[str, RoutingTable]] = {}
_TABLES: Final = Remembered(_table, size=10)

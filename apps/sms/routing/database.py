"""The way of a message as the accepting side sees it: by the table that workers follow, read from PostgreSQL.

What is told here (the message's `operator`, an estimate) is the first choice at that moment. The worker decides again
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

# The first choice for a message: of its sender id, E.164 number and id. Without an id: of most messages.
FirstChoice = Callable[[str, str, UUID | None], str]

_VERSION: Final = "SELECT version FROM sms_routingversion"

# One statement, one snapshot: never a version with another's routes, nor a route without its targets.
_ROUTES: Final = """
SELECT now.version, route.id, route.rank, route.customer_id, route.prefixes, route.sender, route.carrier,
       target.operator, target.preference, target.weight
  FROM sms_routingversion AS now
  LEFT JOIN (sms_route AS route JOIN sms_routetarget AS target ON target.route_id = route.id AND route.enabled) ON true
 ORDER BY route.id, target.preference, target.id
"""


def connection_names(config: Config) -> tuple[str, ...]:
    """The names of the operator connections that are configured: what a route may lead to."""
    return tuple(sorted(registry.names(config)))


def carrier(e164: str) -> str | None:
    """The operator that an E.164 number's prefix belongs to, if it is one of ours."""
    return registry.route(e164, "") or None


def version_read() -> int:
    """The version of the routing table in the database. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_VERSION)
        version: int = cursor.fetchone()[0]
    return version


def routes_read() -> events.RoutesPublished:
    """The routing table as it is in the database. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_ROUTES)
        rows = cursor.fetchall()
    routes = []
    for (id_, rank, customer_id, prefixes, sender, served), targets in groupby(rows, key=lambda row: row[1:7]):
        if id_ is not None:  # else there is no route at all
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
    """Where this customer's messages go first, as a function. Raises django.db.OperationalError."""
    default = config.routing.default
    table = _TABLES.get(default, max_age=config.sms.routes_refresh)
    if not len(table):
        return lambda _sender, to, _message_id: registry.route(to, default)
    customer = ids.to_text(customer_id) if customer_id and table.names_customers else ""

    def first_choice(sender: str, to: str, message_id: UUID | None) -> str:
        plan = table.plan(customer_id=customer, sender=sender, to=to)
        if message_id is None or not plan.is_weighted:
            return plan.usual[0]
        return plan.order(ids.to_text(message_id))[0]

    return first_choice


def _table(default: str) -> RoutingTable:
    """The newest table. It is made again only when the version has changed."""
    held = _HELD.get(default)
    if held is not None and held.version == version_read():
        return held
    names = connection_names(settings.CONFIG)
    table = _HELD[default] = RoutingTable(routes_read(), carrier=carrier, default=default, connections=names)
    return table


_HELD: Final[dict[str, RoutingTable]] = {}
_TABLES: Final = Remembered(_table, size=10)

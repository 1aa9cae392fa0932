"""Endpoints and hosts whose calls all fail are paused as a whole, and probed by one call at a time.

The state is in PostgreSQL, so it survives a restart and all processes keep to it. What waits for a paused lane goes on
waiting, within its schedule.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.db import connection, transaction

from apps.sms.callbacks.lanes import Lane
from smsgateway import ids, json, metrics
from smsgateway.config.delivery import Callback as CallbackSettings

log = structlog.get_logger(__name__)

# Of each lane one process gets the probe; if that process is killed, the next one follows when the lease ends.
_PROBE: Final = """
UPDATE customers_callbackhealth AS health
   SET paused_until = statement_timestamp() + make_interval(secs => %(lease)s)
 WHERE health.id IN (
           SELECT found.id
             FROM customers_callbackhealth AS found
             JOIN json_to_recordset(%(lanes)s::json) AS lane (customer_id uuid, host text) USING (customer_id, host)
            WHERE found.paused_until <= statement_timestamp()
            ORDER BY found.id
              FOR UPDATE OF found SKIP LOCKED)
RETURNING health.customer_id, health.host
"""
_WELL: Final = """
DELETE FROM customers_callbackhealth AS health
 WHERE health.id IN (
           SELECT found.id
             FROM customers_callbackhealth AS found
             JOIN json_to_recordset(%s::json) AS lane (customer_id uuid, host text) USING (customer_id, host)
            ORDER BY found.customer_id, found.host
              FOR UPDATE OF found)
RETURNING health.customer_id, health.host, health.pauses
"""
# In the order of the unique index, so that processes which record the same lanes wait for each other and never both.
_FAILED: Final = """
INSERT INTO customers_callbackhealth AS health
       (customer_id, host, failures, failing_since, pauses, last_error)
SELECT lane.customer_id, lane.host, lane.failures, statement_timestamp(), 0, lane.error
  FROM json_to_recordset(%s::json) AS lane (customer_id uuid, host text, url text, failures int, error text)
  JOIN customers_customer AS customer ON customer.id = lane.customer_id
  LEFT JOIN customers_callbackendpoint AS endpoint ON endpoint.customer_id = lane.customer_id
 WHERE lane.host <> '' OR endpoint.url = lane.url
 ORDER BY lane.customer_id, lane.host
    ON CONFLICT (customer_id, host) DO UPDATE
   SET failures = health.failures + excluded.failures, last_error = excluded.last_error
"""
_PAUSE: Final = """
UPDATE customers_callbackhealth AS health
   SET pauses = health.pauses + 1,
       paused_until = statement_timestamp() + make_interval(
           secs => (%(delays)s::float8[])[least(health.pauses + 1, cardinality(%(delays)s::float8[]))]),
       mail_at = CASE WHEN health.pauses = 0 AND health.host = '' AND customer.email <> ''
                      THEN health.failing_since + make_interval(secs => %(mail_after)s)
                      ELSE health.mail_at END
  FROM json_to_recordset(%(lanes)s::json) AS lane (customer_id uuid, host text, probed bool),
       customers_customer AS customer
 WHERE health.customer_id = lane.customer_id AND health.host = lane.host
   AND customer.id = lane.customer_id
   AND CASE WHEN health.paused_until IS NULL THEN health.failures >= %(after)s ELSE lane.probed END
RETURNING health.customer_id, health.host, health.pauses, health.failures, health.last_error
"""
# What a paused lane's callback waits for is no try of its own. It fails when the last of its tries would have been,
# so `schedule` has for each number of tries the seconds of all that would follow. They count from the lane's first
# failure at the earliest: what was due before, while no process sent, has not waited for the lane.
_EXPIRE: Final = """
UPDATE sms_callback AS callback
   SET status = 'failed', next_at = NULL, last_error = 'endpoint_paused'
 WHERE callback.id IN (
           SELECT late.id
             FROM customers_callbackhealth AS health
            CROSS JOIN LATERAL (
                SELECT id FROM sms_callback
                 WHERE status = 'pending' AND customer_id = health.customer_id AND host = health.host
                   AND next_at <= statement_timestamp() - make_interval(
                           secs => (%(schedule)s::float8[])[least(attempts + 1, cardinality(%(schedule)s::float8[]))])
                   AND health.failing_since <= statement_timestamp() - make_interval(
                           secs => (%(schedule)s::float8[])[least(attempts + 1, cardinality(%(schedule)s::float8[]))])
                 ORDER BY next_at
                 LIMIT %(most)s
                   FOR UPDATE SKIP LOCKED) AS late
            WHERE health.paused_until IS NOT NULL)
"""
_PAUSED: Final = """
SELECT count(*)
  FROM customers_callbackhealth AS health
 WHERE paused_until IS NOT NULL
   AND EXISTS (SELECT FROM sms_callback AS callback
                WHERE callback.status = 'pending' AND callback.customer_id = health.customer_id
                  AND callback.host = health.host)
"""
# Hosts that no message names any more. In portions, as callbacks are.
_PURGE: Final = """
DELETE FROM customers_callbackhealth
 WHERE id IN (
           SELECT health.id
             FROM customers_callbackhealth AS health
            WHERE health.failing_since < %s
              AND NOT EXISTS (SELECT FROM sms_callback AS callback
                               WHERE callback.status = 'pending' AND callback.customer_id = health.customer_id
                                 AND callback.host = health.host)
            ORDER BY health.id
            LIMIT %s)
"""
_MOST: Final = 1000


class Result(NamedTuple):
    """What a call says about its lane. `error` is empty if the lane is well; `probed`: it was a paused lane's probe.

    `url`: the endpoint that was called, which may not be its customer's any more.
    """

    lane: Lane
    url: str
    error: str
    probed: bool = False


def probes_claim(lanes: Sequence[Lane], *, lease_seconds: float) -> set[Lane]:
    """Those of these paused lanes that this process may probe by one call now."""
    if not lanes:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_PROBE, {"lanes": _encoded(lanes), "lease": lease_seconds})
        return {Lane(*row) for row in cursor.fetchall()}


def results_record(results: Sequence[Result], *, config: CallbackSettings) -> None:
    """Count failures, pause lanes that have only failed, and let lanes go that are well again."""
    well = sorted({result.lane for result in results if not result.error})
    failed: dict[tuple[Lane, str], list[Result]] = {}
    for result in results:
        if result.error and result.lane not in well:
            failed.setdefault((result.lane, result.url), []).append(result)
    if well:
        _record_well(well)
    if failed:
        _record_failed(failed, config)


def expire(*, delays: Sequence[float]) -> int:
    """Fail what has waited for paused lanes to the end of its schedule; how many that was."""
    # Before its last try, too, it waits for as long as the longest delay.
    schedule = [max(sum(delays[tries:]), max(delays)) for tries in range(len(delays) + 1)]
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRE, {"schedule": schedule, "most": _MOST})
        return int(cursor.rowcount)


def paused() -> int:
    """How many lanes are paused and have callbacks that wait."""
    with connection.cursor() as cursor:
        cursor.execute(_PAUSED)
        count: int = cursor.fetchone()[0]
    return count


def purge(*, before: dt.datetime) -> None:
    """Forget the failures of lanes that began before and have nothing that waits."""
    deleted = _MOST
    with connection.cursor() as cursor:
        while deleted == _MOST:
            cursor.execute(_PURGE, [before, _MOST])
            deleted = cursor.rowcount


def _record_well(lanes: Sequence[Lane]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_WELL, [_encoded(lanes)])
        for customer_id, host, pauses in cursor.fetchall():
            if pauses:
                log.info("callback_host_resumed", customer_id=ids.to_text(customer_id), host=host or "endpoint")


@transaction.atomic
def _record_failed(failed: dict[tuple[Lane, str], list[Result]], config: CallbackSettings) -> None:
    lanes = [
        lane._asdict()
        | {"url": url, "failures": len(results), "error": results[-1].error}
        | {"probed": any(result.probed for result in results)}
        for (lane, url), results in failed.items()
    ]
    encoded = json.encode(lanes).decode()
    parameters: dict[str, Any] = {
        "lanes": encoded,
        "after": config.pause_after,
        "delays": [float(delay) for delay in config.pause_delays],
        "mail_after": config.mail_after,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FAILED, [encoded])
        cursor.execute(_PAUSE, parameters)
        for customer_id, host, pauses, failures, error in cursor.fetchall():
            if pauses == 1:
                _log_pause(customer_id, host, failures, error)


def _log_pause(customer_id: UUID, host: str, failures: int, error: str) -> None:
    transaction.on_commit(metrics.CALLBACK_PAUSES.inc)
    customer = ids.to_text(customer_id)
    log.warning("callback_host_paused", customer_id=customer, host=host or "endpoint", failures=failures, error=error)


def _encoded(lanes: Sequence[Lane]) -> str:
    return json.encode([lane._asdict() for lane in lanes]).decode()

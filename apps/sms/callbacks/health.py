"""Pauses endpoints and hosts whose calls all fail, and probes them with one call at a time.

The state is in PostgreSQL, so it survives a restart, and all processes respect it. The callbacks of a paused lane wait
until the last try of their schedule would be over.
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

# One process claims the probe of a lane. If it is killed, another process can probe when the lease ends.
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
_RECOVERED: Final = """
DELETE FROM customers_callbackhealth AS health
 WHERE health.id IN (
           SELECT found.id
             FROM customers_callbackhealth AS found
             JOIN json_to_recordset(%s::json) AS lane (customer_id uuid, host text) USING (customer_id, host)
            ORDER BY found.customer_id, found.host
              FOR UPDATE OF found)
RETURNING health.customer_id, health.host, health.pauses
"""
# In the order of the unique index, so that processes that record the same lanes cannot deadlock.
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
# A callback of a paused lane is not tried while it waits. It fails when its last try would have been: `schedule` has,
# for each number of tries made, the seconds until the last one. They count from the lane's first failure at the
# earliest: what was due before, while no process sent, has not waited for the lane.
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
# Lanes with no waiting callbacks. In batches, like the purge of callbacks.
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
_BATCH: Final = 1000


class Result(NamedTuple):
    """The result of a call for its lane's health. `error`: empty if the call succeeded. `probed`: it was a probe.

    `url`: the endpoint that was called. The customer may have changed it since.
    """

    lane: Lane
    url: str
    error: str
    probed: bool = False


def probes_claim(lanes: Sequence[Lane], *, lease_seconds: float) -> set[Lane]:
    """Claim the probes of these paused lanes. Returns the lanes that this process may call once now."""
    if not lanes:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_PROBE, {"lanes": _encoded(lanes), "lease": lease_seconds})
        return {Lane(*row) for row in cursor.fetchall()}


def results_record(results: Sequence[Result], *, config: CallbackSettings) -> None:
    """Count failures, pause lanes whose calls all fail, and resume lanes that work again."""
    recovered = sorted({result.lane for result in results if not result.error})
    failed: dict[tuple[Lane, str], list[Result]] = {}
    for result in results:
        if result.error and result.lane not in recovered:
            failed.setdefault((result.lane, result.url), []).append(result)
    if recovered:
        _record_recovered(recovered)
    if failed:
        _record_failed(failed, config)


def expire(*, delays: Sequence[float]) -> int:
    """Fail the callbacks of paused lanes whose schedule has ended. Returns how many.

    A callback waits at least as long as the longest delay.
    """
    schedule = [max(sum(delays[tries:]), max(delays)) for tries in range(len(delays) + 1)]
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRE, {"schedule": schedule, "most": _BATCH})
        return int(cursor.rowcount)


def paused() -> int:
    """The number of paused lanes that have waiting callbacks."""
    with connection.cursor() as cursor:
        cursor.execute(_PAUSED)
        count: int = cursor.fetchone()[0]
    return count


def purge(*, before: dt.datetime) -> None:
    """Delete the failures that began before this time, of lanes with no waiting callbacks."""
    deleted = _BATCH
    with connection.cursor() as cursor:
        while deleted == _BATCH:
            cursor.execute(_PURGE, [before, _BATCH])
            deleted = cursor.rowcount


def _record_recovered(lanes: Sequence[Lane]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_RECOVERED, [_encoded(lanes)])
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

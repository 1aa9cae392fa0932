"""Every metric, declared once: name, labels and meaning.

Labels have few values: never a message id or a phone number, and only the busiest customers.
"""

from __future__ import annotations

from typing import Any

import prometheus_client
from prometheus_client import Counter, Histogram


class Gauge(prometheus_client.Gauge):
    """A gauge with one value for all gunicorn processes; the library's default would add a label `pid`."""

    def __init__(self, name: str, documentation: str, labelnames: Any = (), **options: Any) -> None:
        super().__init__(name, documentation, labelnames, **{"multiprocess_mode": "livemax", **options})


# HTTP services
HTTP_REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
HTTP_PROBLEMS = Counter("http_problems_total", "Problem documents returned, by code.", ["code"])
HTTP_CONNECTIONS = Gauge("http_connections", "Open connections of clients.", multiprocess_mode="livesum")
HTTP_CONNECTIONS_REFUSED = Counter(
    "http_connections_refused_total",
    "Connections refused because too many were open: of one address, or of the process with none idle.",
    ["reason"],
)
HTTP_QUEUED = Gauge(
    "http_queued_requests",
    "Requests that wait for a thread, by pool: health, reads, writes, exports or admin.",
    ["pool"],
    multiprocess_mode="livesum",
)
HTTP_SHED = Counter(
    "http_shed_total",
    "Requests refused with `overloaded`, by kind: those before them wait too long (HTTP_MAX_WAIT) or are too many.",
    ["kind"],
)

# Accept
SMS_ACCEPTED = Counter(
    "sms_accepted_total",
    "Messages accepted and charged. `customer`: the busiest by id (METRICS_CUSTOMERS), the rest as `other`.",
    ["operator", "customer"],
)
SMS_REFUSED = Counter("sms_refused_total", "Messages refused before any charge, by problem code.", ["code"])
SMS_CANCELED = Counter("sms_canceled_total", "Scheduled messages canceled.")
RATE_LIMIT_UNCHECKED = Counter(
    "rate_limit_unchecked_total", "Requests allowed without a rate limit check because Redis did not respond."
)
BALANCE_DEDUCTION = Histogram(
    "balance_deduction_duration_seconds",
    "Time of the SQL statement that locks the account, deducts the cost and stores the messages.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1),
)
SMS_WRITTEN_TOGETHER = Histogram(
    "sms_written_together",
    "Number of single sends, of different requests, that one SQL statement stored.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
SMS_WRITE_WAIT = Histogram(
    "sms_write_wait_seconds",
    "How long the first single send of a group waited until the statement for the group began.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)

# Relay
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Outbox rows published to Kafka.", ["kind"])
OUTBOX_OLDEST = Gauge(
    "outbox_oldest_age_seconds", "Age of the oldest outbox row the relay saw; 0 when the outbox is empty."
)
RELAY_NOT_SENT = Counter("relay_not_sent_total", "Messages the relay did not send because they had already ended.")
SCHEDULE_RELEASED = Counter("schedule_released_total", "Scheduled messages released because they were due.")
OUTBOX_ERRORS = Counter("outbox_errors_total", "Relay rounds that failed and were rolled back.", ["reason"])

# Delivery
DELIVERY_QUEUED = Gauge("delivery_queued_messages", "Messages waiting in this process, retries included.")
DELIVERY_IN_FLIGHT = Gauge("delivery_in_flight_submits", "Submits waiting for an operator's answer.")
DELIVERY_PAUSED = Gauge(
    "delivery_paused_partitions", "Kafka partitions paused because enough of their messages are in memory."
)
DELIVERY_DELAYED = Gauge("delivery_delayed_messages", "Messages read from retry topics that are not due yet.")
DELIVERY_OVERFLOWED = Counter(
    "delivery_overflowed_total", "Messages moved to an overflow lane because their queue was full."
)
DELIVERY_OVERFLOW_OCCUPIED = Gauge(
    "delivery_overflow_occupied_lanes",
    "Overflow lanes with waiting messages of this process's customers, counted in each partition.",
)
DELIVERY_OVERFLOW_SHARED = Gauge(
    "delivery_overflow_shared_lanes",
    "Occupied overflow lanes on which several queues (customer and priority) wait for each other.",
)
DELIVERY_OVERFLOW_CROWDED = Counter(
    "delivery_overflow_crowded_total",
    "Queues that began to overflow when no lane of their partition was free; raise KAFKA_OVERFLOW_LANES.",
)
DELIVERY_PARKED = Counter(
    "delivery_parked_total", "Messages delayed because none of their routes was up.", ["operator"]
)
DELIVERY_ALREADY_SUBMITTED = Counter(
    "delivery_already_submitted_total",
    "Messages not submitted again after the group's offsets were lost, because the status topic has them as submitted.",
)
DELIVERY_REROUTED = Counter(
    "delivery_rerouted_total", "Messages moved to another route than their first.", ["operator"]
)
DELIVERY_THROTTLED = Counter("delivery_throttled_total", "Submits that the operator throttled.", ["operator"])
DELIVERY_CIRCUIT_OPEN = Gauge("delivery_circuit_open", "1 while a connection's circuit breaker is open.", ["operator"])
DELIVERY_UNCOMMITTED = Gauge(
    "delivery_uncommitted_messages", "Finished messages whose Kafka commit is not confirmed yet."
)
DELIVERY_SUBMITS = Counter(
    "delivery_submits_total", "Operators' responses to submits, by outcome.", ["operator", "outcome"]
)
DELIVERY_UNREADABLE_ANSWERS = Counter(
    "delivery_unreadable_answers_total",
    "Messages an operator took with an unreadable response: they count as submitted, with an unknown operator id.",
    ["operator", "reason"],
)
DELIVERY_RETRIES = Counter("delivery_retries_total", "Submits that will be tried again.", ["operator", "error"])
DELIVERY_SUBMIT_DURATION = Histogram(
    "delivery_submit_duration_seconds",
    "Time an operator took to respond to a submit.",
    ["operator"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# Operators over SMPP
SMPP_BOUND = Gauge("smpp_bound", "1 while this process is bound to the operator, else 0.", ["operator"])
SMPP_BINDS = Counter(
    "smpp_binds_total",
    "Attempts to bind, by outcome: bound, credentials (refused), too_many (connections), refused or unreachable.",
    ["operator", "outcome"],
)
SMPP_DISCONNECTS = Counter("smpp_disconnects_total", "Bound connections that ended, by reason.", ["operator", "reason"])
SMPP_ENQUIRE_LINK_FAILURES = Counter(
    "smpp_enquire_link_failures_total",
    "Connections closed because the operator did not answer an enquire_link.",
    ["operator"],
)
SMPP_LATE_ANSWERS = Counter(
    "smpp_late_answers_total",
    "Responses to submits that had already timed out; such a message may be sent twice.",
    ["operator"],
)
SMPP_DELIVERIES = Counter(
    "smpp_deliveries_total",
    "PDUs from operators: receipt, intermediate, message (from a phone), unreadable, or not_kept, which is sent again.",
    ["operator", "kind"],
)

# Tables that the relay publishes and workers follow: `routes`, and `suspensions` (the suspended customers)
TABLE_PUBLISHED = Counter("tables_published_total", "Versions of the table that Kafka confirmed.", ["table"])
TABLE_ERRORS = Counter(
    "tables_errors_total",
    "Failures to read or publish the table; the reason `size` means that it is too large to publish.",
    ["table", "reason"],
)
TABLE_UNPUBLISHED = Gauge(
    "tables_unpublished_seconds",
    "How long the newest version of the table has been missing on Kafka; 0 when it is there.",
    ["table"],
)
TABLE_PUBLISHED_VERSION = Gauge(
    "tables_published_version", "Newest version of the table that Kafka confirmed.", ["table"]
)
ROUTES_VERSION = Gauge(
    "routes_version", "Version of the routing table in use (Unix milliseconds); 0: the built-in one."
)
ROUTES_IN_USE = Gauge("routes_in_use", "Routes in the routing table in use.")
SUSPENSIONS_VERSION = Gauge(
    "suspensions_version", "Version of the list of suspended customers in use (Unix milliseconds); 0: no list yet."
)
SUSPENSIONS_IN_USE = Gauge("suspended_customers", "Suspended customers whose messages this worker holds.")

# Messages of suspended customers
HELD = Counter("held_messages_total", "Messages held, by the process that held them: relay or deliver.", ["process"])
HELD_RELEASED = Counter(
    "held_messages_released_total", "Held messages released: active (sent) or expired.", ["outcome"]
)

# Settlement
SETTLE_EVENTS = Counter("settle_events_total", "Status events recorded for the first time.", ["status", "operator"])
SETTLE_REPEATED = Counter("settle_repeated_events_total", "Status events that were already recorded.")
REFUNDS = Counter("refunds_total", "Messages refunded.", ["status"])
REFUNDED_AMOUNT = Counter("refunded_minor_units_total", "Money refunded, in minor units.")

SETTLE_DELIVERED_REFUNDED = Counter(
    "settle_delivered_after_refund_total", "Messages reported delivered after they had been refunded."
)

# Receipts
RECEIPTS = Counter("receipts_total", "Receipts from operators, by outcome.", ["operator", "outcome"])
RECEIPTS_DROPPED = Counter(
    "receipts_dropped_total", "Receipts dropped because their submit never became known.", ["operator"]
)
RECEIPTS_UNREADABLE = Counter(
    "receipts_unreadable_total",
    "What operators sent as receipts and could not be read; it is kept as dead letters.",
    ["operator"],
)
RECEIPTS_IN_ANOTHER_FORM = Counter(
    "receipts_in_another_form_total",
    "Waiting receipts, of a sample, whose id equals a submit's except for its base, case or zeros.",
    ["operator"],
)
RECEIPTS_MISSING = Counter("receipts_missing_total", "Messages that became unknown without a receipt.", ["operator"])

# Callbacks to customers
CALLBACKS_ENQUEUED = Counter("callbacks_enqueued_total", "Callbacks queued.")
CALLBACK_ATTEMPTS = Counter("callback_attempts_total", "Calls to endpoints, by outcome.", ["outcome"])
CALLBACK_DURATION = Histogram(
    "callback_duration_seconds",
    "Time until an endpoint responded or the call was given up.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CALLBACKS_FAILED = Counter("callbacks_failed_total", "Callbacks that failed for the last time.")
CALLBACK_ENDPOINTS_DISABLED = Counter(
    "callback_endpoints_disabled_total", "Endpoints disabled because they responded 410."
)
CALLBACKS_IN_FLIGHT = Gauge("callbacks_in_flight", "Callbacks waiting for an endpoint's response.")
CALLBACKS_PENDING = Gauge("callbacks_pending", "Callbacks waiting to be sent, including retries.")
CALLBACKS_OLDEST = Gauge(
    "callbacks_oldest_due_age_seconds",
    "How long the oldest callback has been due, without paused endpoints; 0: none is due.",
)
CALLBACK_PAUSES = Counter("callback_pauses_total", "Pauses of endpoints and hosts because all their calls failed.")
CALLBACK_PAUSED = Gauge("callback_hosts_paused", "Endpoints and hosts that are paused now.")
CALLBACK_MAILS = Counter("callback_mails_total", "E-mails about paused endpoints: sent or failed.", ["outcome"])
LOW_BALANCES = Counter("low_balances_total", "Balances found below their thresholds, each once until a top-up.")
LOW_BALANCE_MAILS = Counter("low_balance_mails_total", "E-mails about low balances: sent or failed.", ["outcome"])

# Console
CONSOLE_ACTS = Counter("console_acts_total", "Actions of people in the admin, by kind.", ["act"])

# Bridge to ClickHouse
INGEST_EVENTS = Counter("ingest_events_total", "Events inserted into ClickHouse, repeats included.", ["type"])
INGEST_BATCH_DURATION = Histogram(
    "ingest_batch_duration_seconds", "Time to insert a batch.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30)
)
INGEST_NEWEST = Gauge("ingest_newest_event_timestamp_seconds", "Time of the newest event inserted (Unix).")
INGEST_FRESHNESS = Gauge(
    "ingest_freshness_seconds", "Age of the newest event in the statistics; it grows while no events arrive."
)
INGEST_LAG = Gauge("ingest_lag_events", "Events on Kafka that this process has not read yet.", ["topic", "partition"])
INGEST_LAG_TOTAL = Gauge(
    "ingest_lag_events_all", "Events on Kafka that this process has not read yet, over all its partitions."
)
INGEST_PENDING = Gauge(
    "ingest_touched_minutes", "Minutes, counted for each customer, whose statistics are not computed yet."
)
INGEST_SNAPSHOT_DURATION = Histogram(
    "ingest_snapshot_duration_seconds",
    "Time to compute the statistics of all changed minutes or days.",
    ["interval"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)

# Partitions (written to a textfile by the job `partitions apply`)
PARTITIONS_AHEAD = Gauge("partitions_days_ahead", "Days after today that have a partition.", ["table"])
PARTITIONS_ATTACHED = Gauge("partitions_attached", "Partitions that a table has.", ["table"])
PARTITIONS_OVERDUE = Gauge(
    "partitions_overdue", "Partitions past their retention that are not archived yet.", ["table"]
)
PARTITIONS_UNFINISHED = Gauge("partitions_unfinished", "Partitions whose archiving has begun and is not finished.")
PARTITIONS_CREATED = Gauge("partitions_created", "Partitions that the last run created.")
PARTITIONS_ARCHIVED = Gauge("partitions_archived", "Partitions that the last run archived.")
PARTITIONS_ARCHIVED_ROWS = Gauge("partitions_archived_rows", "Rows of the partitions that the last run archived.")
PARTITIONS_TROUBLES = Gauge("partitions_troubles", "Problems in the last run; its log lists them.")

# Reporting API
EXPORTS = Counter(
    "exports_total",
    "Exports, by how they ended: whole, broken_off (by us), left (by the client) or refused.",
    ["format", "end"],
)
EXPORT_BYTES = Counter("export_bytes_total", "Bytes of exports as sent, compressed.")

# Reconciliation (a cron job)
RECONCILE_DIFFERENCES = Gauge(
    "reconcile_differences", "Messages on which ClickHouse and PostgreSQL differ, by kind of difference.", ["kind"]
)
RECONCILE_DAYS_OFF = Gauge(
    "reconcile_customer_days_off",
    "Days, counted for each customer, whose sums differ between PostgreSQL and ClickHouse.",
)
RECONCILE_STUCK = Gauge("reconcile_stuck_messages", "Accepted messages that have had no status for too long.")
RECONCILE_ACCOUNTS_OFF = Gauge("reconcile_accounts_off", "Accounts whose balance is not the sum of their ledger.")
RECONCILE_REPAIRED = Gauge(
    "reconcile_repaired", "Repairs of the last run: rows put into the outbox, statistics computed again.", ["what"]
)

# Any Kafka consumer
EVENTS_UNREADABLE = Counter(
    "events_unreadable_total", "Events that could not be read and were moved to the dead letters.", ["topic"]
)
DEAD_LETTER_LIMIT_REACHED = Gauge(
    "dead_letter_limit_reached",
    "1: the process has stopped reading after KAFKA_DEAD_LETTER_LIMIT dead letters in a row; else 0.",
    ["process"],
)
CONSUMER_UNREAD = Gauge(
    "consumer_unread_seconds",
    "Longest time that a partition of this process has had messages and none was read; partitions that the process "
    "paused on purpose do not count.",
    ["topic"],
)

# Cron jobs (see smsgateway.textfile_metrics)
JOB_RUN = Gauge("job_last_run_timestamp_seconds", "When the job last ended (Unix).", ["job"])
JOB_SUCCEEDED = Gauge("job_last_run_succeeded", "1 if the job's last run ended without an error, else 0.", ["job"])
JOB_DURATION = Gauge("job_last_run_duration_seconds", "How long the job's last run took.", ["job"])
PURGED = Gauge("purged_rows", "Rows that the last run of purge deleted, by kind.", ["kind"])
JOB_SUCCESS = Gauge("job_last_success_timestamp_seconds", "When the job last ended without an error (Unix).", ["job"])

# Watch: measured from outside
WATCH_OUTBOX_AGE = Gauge(
    "watch_outbox_oldest_age_seconds", "How long the oldest outbox row has waited; 0 when the outbox is empty."
)
WATCH_LAG = Gauge("watch_consumer_lag_events", "Events that a consumer group has not committed.", ["process", "topic"])
WATCH_BEHIND = Gauge(
    "watch_consumer_behind_seconds",
    "How long ago watch first saw the oldest event that a consumer group has not committed.",
    ["process", "topic"],
)
WATCH_PARTITIONS_AHEAD = Gauge(
    "watch_partitions_days_ahead", "Days after today that have a partition; -1: today has none.", ["table"]
)
WATCH_LEDGER_MISMATCHES = Gauge(
    "watch_ledger_mismatched_accounts", "Accounts whose balance differs from their newest ledger entry."
)
WATCH_STANDBYS = Gauge("watch_synchronous_standbys", "Standbys that confirm every commit of PostgreSQL.")
WATCH_STANDBYS_MISSING = Gauge(
    "watch_synchronous_standbys_missing", "How many of the promised WATCH_SYNCHRONOUS_STANDBYS are missing."
)
WATCH_WAL_ARCHIVE_AGE = Gauge(
    "watch_wal_archive_age_seconds", "Time since PostgreSQL archived a WAL segment; 0 without an archive."
)
WATCH_WAL_ARCHIVE_FAILING = Gauge("watch_wal_archive_failing", "1 if PostgreSQL's last try to archive WAL failed.")
WATCH_DEAD_LETTERS = Gauge(
    "watch_dead_letters_waiting", "Dead letters that nobody has replayed, among the newest 1000 of each partition."
)
WATCH_LOOKED_AT = Gauge("watch_looked_at_timestamp_seconds", "When watch last measured this part (Unix).", ["part"])

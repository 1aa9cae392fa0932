"""Every metric, declared once: name, labels and meaning. Labels are bounded: no message, no number, few customers."""

from __future__ import annotations

from typing import Any

import prometheus_client
from prometheus_client import Counter, Histogram


class Gauge(prometheus_client.Gauge):
    """A gauge that is one number for all processes of gunicorn: the default mode would add a label for each pid."""

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
HTTP_PROBLEMS = Counter("http_problems_total", "Problem documents answered, by code.", ["code"])

# Accept
SMS_ACCEPTED = Counter(
    "sms_accepted_total",
    "Messages accepted and charged. `customer`: the busiest by id (METRICS_CUSTOMERS), the rest as `other`.",
    ["operator", "customer"],
)
SMS_REFUSED = Counter("sms_refused_total", "Messages refused before any charge, by problem code.", ["code"])
SMS_CANCELED = Counter("sms_canceled_total", "Scheduled messages canceled.")
RATE_LIMIT_UNCHECKED = Counter("rate_limit_unchecked_total", "Requests let through because Redis does not answer.")
BALANCE_DEDUCTION = Histogram(
    "balance_deduction_duration_seconds",
    "Time of the statement that locks, deducts and writes.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1),
)
SMS_WRITTEN_TOGETHER = Histogram(
    "sms_written_together",
    "Single sends that one statement wrote for several requests.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
)

# Relay
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Outbox rows published to Kafka.", ["kind"])
OUTBOX_OLDEST = Gauge("outbox_oldest_age_seconds", "Age of the oldest outbox row seen; 0 when empty.")
RELAY_NOT_SENT = Counter("relay_not_sent_total", "Messages that had ended before they were sent, and were not sent.")
SCHEDULE_RELEASED = Counter("schedule_released_total", "Scheduled messages whose hour came.")
OUTBOX_ERRORS = Counter("outbox_errors_total", "Relay rounds that failed and were rolled back.", ["reason"])

# Delivery
DELIVERY_QUEUED = Gauge("delivery_queued_messages", "Messages waiting in this process, retries included.")
DELIVERY_IN_FLIGHT = Gauge("delivery_in_flight_submits", "Submits waiting for an operator's answer.")
DELIVERY_PAUSED = Gauge("delivery_paused_partitions", "Kafka partitions paused because enough of them is in memory.")
DELIVERY_DELAYED = Gauge("delivery_delayed_messages", "Messages read from the retry topics that are not due yet.")
DELIVERY_OVERFLOWED = Counter("delivery_overflowed_total", "Messages put on an overflow lane: no room in a queue.")
DELIVERY_OVERFLOW_OCCUPIED = Gauge(
    "delivery_overflow_occupied_lanes",
    "Overflow lanes, counted in each partition, on which messages of this process's customers wait.",
)
DELIVERY_OVERFLOW_SHARED = Gauge(
    "delivery_overflow_shared_lanes",
    "Those of them on which several queues (customer and priority) wait for each other.",
)
DELIVERY_OVERFLOW_CROWDED = Counter(
    "delivery_overflow_crowded_total",
    "Queues that began to overflow when no lane of their partition was free: more KAFKA_OVERFLOW_LANES would help.",
)
DELIVERY_PARKED = Counter("delivery_parked_total", "Messages put off because no route of theirs was up.", ["operator"])
DELIVERY_REROUTED = Counter("delivery_rerouted_total", "Messages that left their first route.", ["operator"])
DELIVERY_THROTTLED = Counter("delivery_throttled_total", "Submits that an operator took for too many.", ["operator"])
DELIVERY_CIRCUIT_OPEN = Gauge("delivery_circuit_open", "1 while a connection's circuit breaker is open.", ["operator"])
DELIVERY_UNCOMMITTED = Gauge("delivery_uncommitted_messages", "Messages done whose commit is not confirmed yet.")
DELIVERY_SUBMITS = Counter("delivery_submits_total", "Operators' answers to submits.", ["operator", "outcome"])
DELIVERY_UNREADABLE_ANSWERS = Counter(
    "delivery_unreadable_answers_total",
    "Operators took a message with an answer that cannot be read: it is submitted, its id is unknown.",
    ["operator", "reason"],
)
DELIVERY_RETRIES = Counter("delivery_retries_total", "Submits that will be tried again.", ["operator", "error"])
DELIVERY_SUBMIT_DURATION = Histogram(
    "delivery_submit_duration_seconds",
    "Time an operator took to answer.",
    ["operator"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# Operators over SMPP
SMPP_BOUND = Gauge("smpp_bound", "Whether this process is bound to the operator (1) or not (0).", ["operator"])
SMPP_BINDS = Counter("smpp_binds_total", "Binds: bound, refused or unreachable.", ["operator", "outcome"])
SMPP_DISCONNECTS = Counter("smpp_disconnects_total", "Bound connections that ended, by reason.", ["operator", "reason"])
SMPP_ENQUIRE_LINK_FAILURES = Counter(
    "smpp_enquire_link_failures_total", "Connections given up because the operator kept silent.", ["operator"]
)
SMPP_LATE_ANSWERS = Counter(
    "smpp_late_answers_total",
    "Answers to submits that had been given up: such a message may go out twice.",
    ["operator"],
)
SMPP_DELIVERIES = Counter(
    "smpp_deliveries_total",
    "What operators sent: receipt, intermediate, message (from a phone), unreadable, or not_kept, which comes again.",
    ["operator", "kind"],
)

# Tables that the relay publishes and workers follow: `routes`, and `suspensions` (the suspended customers)
TABLE_PUBLISHED = Counter("tables_published_total", "Tables confirmed by Kafka.", ["table"])
TABLE_ERRORS = Counter(
    "tables_errors_total",
    "Tables that could not be read or published; `size`: larger than can be published.",
    ["table", "reason"],
)
TABLE_UNPUBLISHED = Gauge(
    "tables_unpublished_seconds", "For how long Kafka lacks the newest version of the table; 0: it has it.", ["table"]
)
TABLE_PUBLISHED_VERSION = Gauge("tables_published_version", "Version that Kafka has confirmed.", ["table"])
ROUTES_VERSION = Gauge("routes_version", "Version of the routing table in use (Unix milliseconds); 0: built in.")
ROUTES_IN_USE = Gauge("routes_in_use", "Routes of the routing table in use.")
SUSPENSIONS_VERSION = Gauge(
    "suspensions_version", "Version of the suspended customers in use (Unix milliseconds); 0: none is known."
)
SUSPENSIONS_IN_USE = Gauge("suspended_customers", "Suspended customers whose messages this worker holds.")

# Messages of suspended customers
HELD = Counter("held_messages_total", "Messages put aside, by who did it: relay or deliver.", ["process"])
HELD_RELEASED = Counter(
    "held_messages_released_total", "Held messages that went on: sent on (active), or expired.", ["outcome"]
)

# Settlement
SETTLE_EVENTS = Counter("settle_events_total", "Status events recorded for the first time.", ["status", "operator"])
SETTLE_REPEATED = Counter("settle_repeated_events_total", "Status events that had been recorded before.")
REFUNDS = Counter("refunds_total", "Messages refunded.", ["status"])
REFUNDED_AMOUNT = Counter("refunded_minor_units_total", "Money refunded, in minor units.")

SETTLE_DELIVERED_REFUNDED = Counter(
    "settle_delivered_after_refund_total", "Messages reported delivered after their cost was given back."
)

# Receipts
RECEIPTS = Counter("receipts_total", "Operators' receipts, by what became of each.", ["operator", "outcome"])
RECEIPTS_DROPPED = Counter("receipts_dropped_total", "Receipts whose submit was never recorded.", ["operator"])
RECEIPTS_MISSING = Counter("receipts_missing_total", "Messages that became unknown without a receipt.", ["operator"])
# Callbacks to customers
CALLBACKS_ENQUEUED = Counter("callbacks_enqueued_total", "Callbacks noted.")
CALLBACK_ATTEMPTS = Counter("callback_attempts_total", "Tries to call an endpoint.", ["outcome"])
CALLBACK_DURATION = Histogram(
    "callback_duration_seconds",
    "Time an endpoint took to answer, or until it was given up.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CALLBACKS_FAILED = Counter("callbacks_failed_total", "Callbacks that are not tried any more.")
CALLBACK_ENDPOINTS_DISABLED = Counter("callback_endpoints_disabled_total", "Endpoints disabled, for they said 410.")
CALLBACKS_IN_FLIGHT = Gauge("callbacks_in_flight", "Callbacks waiting for an endpoint's answer.")
CALLBACKS_PENDING = Gauge("callbacks_pending", "Callbacks that wait, retries included.")
CALLBACKS_OLDEST = Gauge(
    "callbacks_oldest_due_age_seconds", "For how long the oldest due callback of no paused endpoint is due; 0: none."
)
CALLBACK_PAUSES = Counter("callback_pauses_total", "Endpoints and hosts that were paused, for all their calls failed.")
CALLBACK_PAUSED = Gauge("callback_hosts_paused", "Endpoints and hosts of customers that are paused.")
CALLBACK_MAILS = Counter("callback_mails_total", "E-mails about paused endpoints.", ["outcome"])
LOW_BALANCES = Counter("low_balances_total", "Balances found below their thresholds, each once until a top-up.")
LOW_BALANCE_MAILS = Counter("low_balance_mails_total", "E-mails of low balances: sent, or failed.", ["outcome"])

# Console
CONSOLE_ACTS = Counter("console_acts_total", "What people did in the admin, by act.", ["act"])

# Bridge to ClickHouse
INGEST_EVENTS = Counter("ingest_events_total", "Events inserted into ClickHouse, repeats included.", ["type"])
INGEST_BATCH_DURATION = Histogram(
    "ingest_batch_duration_seconds", "Time to insert a batch.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30)
)
INGEST_NEWEST = Gauge("ingest_newest_event_timestamp_seconds", "Time of the newest event inserted (Unix).")
INGEST_FRESHNESS = Gauge(
    "ingest_freshness_seconds", "Now minus the newest event in the statistics; it grows while nothing comes in."
)
INGEST_LAG = Gauge("ingest_lag_events", "Events on Kafka that this process has not read yet.", ["topic", "partition"])
INGEST_LAG_TOTAL = Gauge("ingest_lag_events_all", "The same, over all partitions of this process.")
INGEST_PENDING = Gauge("ingest_touched_minutes", "Customers' minutes whose statistics are to be computed.")
INGEST_SNAPSHOT_DURATION = Histogram(
    "ingest_snapshot_duration_seconds",
    "Time to compute the statistics of all touched minutes, or days.",
    ["interval"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)

# Partitions: of the job that keeps them, in a textfile
PARTITIONS_AHEAD = Gauge("partitions_days_ahead", "Days after today that have a partition.", ["table"])
PARTITIONS_ATTACHED = Gauge("partitions_attached", "Partitions that a table has.", ["table"])
PARTITIONS_OVERDUE = Gauge("partitions_overdue", "Partitions past their retention that are not archived.", ["table"])
PARTITIONS_UNFINISHED = Gauge("partitions_unfinished", "Partitions on their way to the archive.")
PARTITIONS_CREATED = Gauge("partitions_created", "Partitions that the last run created.")
PARTITIONS_ARCHIVED = Gauge("partitions_archived", "Partitions that the last run archived.")
PARTITIONS_ARCHIVED_ROWS = Gauge("partitions_archived_rows", "Rows of the partitions that the last run archived.")
PARTITIONS_TROUBLES = Gauge("partitions_troubles", "What went wrong in the last run; its log has each.")

# Reporting API
EXPORTS = Counter("exports_total", "Exports by how they ended: whole, broken_off, left or refused.", ["format", "end"])
EXPORT_BYTES = Counter("export_bytes_total", "Bytes of exports, packed as they were sent.")

# Reconciliation (a cron job)
RECONCILE_DIFFERENCES = Gauge(
    "reconcile_differences", "Messages of which ClickHouse tells otherwise than PostgreSQL, by what is wrong.", ["kind"]
)
RECONCILE_DAYS_OFF = Gauge("reconcile_customer_days_off", "Days of customers that add up differently on both sides.")
RECONCILE_STUCK = Gauge("reconcile_stuck_messages", "Accepted messages without any status for too long.")
RECONCILE_ACCOUNTS_OFF = Gauge("reconcile_accounts_off", "Accounts whose balance is not the sum of their ledger.")
RECONCILE_REPAIRED = Gauge("reconcile_repaired", "What the last run put into the outbox or computed anew.", ["what"])

# Any Kafka consumer
EVENTS_UNREADABLE = Counter(
    "events_unreadable_total", "Events that no schema reads, moved to the dead letters.", ["topic"]
)
DEAD_LETTER_LIMIT_REACHED = Gauge(
    "dead_letter_limit_reached",
    "1: the process has stopped reading after KAFKA_DEAD_LETTER_LIMIT dead letters in a row; else 0.",
    ["process"],
)
CONSUMER_UNREAD = Gauge(
    "consumer_unread_seconds",
    "For how long a partition of this process has had messages without one being read, the longest of the topic's; "
    "partitions that the process holds back on purpose do not count.",
    ["topic"],
)

# Cron jobs (see smsgateway.textfile_metrics)
JOB_RUN = Gauge("job_last_run_timestamp_seconds", "When the job last ended (Unix).", ["job"])
JOB_SUCCEEDED = Gauge("job_last_run_succeeded", "Whether the job's last run ended without an error.", ["job"])
JOB_DURATION = Gauge("job_last_run_duration_seconds", "How long the job's last run took.", ["job"])
PURGED = Gauge("purged_rows", "Rows that the last run of purge deleted, by kind.", ["kind"])
JOB_SUCCESS = Gauge("job_last_success_timestamp_seconds", "When the job last ended without an error (Unix).", ["job"])
# Watch: measured from outside
WATCH_OUTBOX_AGE = Gauge("watch_outbox_oldest_age_seconds", "How long the oldest outbox row waits; 0: there is none.")
WATCH_LAG = Gauge(
    "watch_consumer_lag_events", "Events that a consumer group has not committed yet.", ["process", "topic"]
)
WATCH_BEHIND = Gauge(
    "watch_consumer_behind_seconds",
    "For how long the oldest event waits that a consumer group has not committed, since it was seen.",
    ["process", "topic"],
)
WATCH_PARTITIONS_AHEAD = Gauge(
    "watch_partitions_days_ahead", "Days after today that have partitions; -1: today has none.", ["table"]
)
WATCH_LEDGER_MISMATCHES = Gauge(
    "watch_ledger_mismatched_accounts", "Accounts whose balance is not what their newest ledger entry says."
)
WATCH_LOOKED_AT = Gauge("watch_looked_at_timestamp_seconds", "When this was last looked at (Unix).", ["part"])

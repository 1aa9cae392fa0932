-- Every event of every message, one row each: accepted, status, refund.
--
-- The key of an event is made of what never changes: its customer, the minute its message was accepted (taken from the
-- message's ULID, not from the event), the message, the type and the status. So an event that is read again lands in the
-- same partition under the same key and replaces itself when parts merge.
CREATE TABLE IF NOT EXISTS sms_events
(
    customer_id         UUID,
    minute              DateTime('UTC') CODEC(Delta, ZSTD) COMMENT 'when the message was accepted, to the minute',
    message_id          UUID,
    type                LowCardinality(String) COMMENT 'accepted, status or refund',
    status              LowCardinality(String) COMMENT 'empty for a refund',
    rank                UInt8 COMMENT 'place of the status in its order: the current status is the furthest one',
    at                  DateTime64(3, 'UTC') CODEC(Delta, ZSTD) COMMENT 'when the event happened',
    operator            LowCardinality(String),
    operator_message_id String,
    country             LowCardinality(String),
    encoding            LowCardinality(String),
    error               LowCardinality(String),
    attempt             UInt16,
    segments            UInt16,
    cost                Int64 COMMENT 'minor units of the currency',
    refunded            Int64 COMMENT 'minor units of the currency',
    currency            LowCardinality(String)
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(minute)
ORDER BY (customer_id, minute, message_id, type, status);

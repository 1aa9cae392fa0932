-- Every event of every message, one row each: accepted, status, refund.
--
-- The key of an event is made of what never changes: its customer, the minute its message was accepted (taken from the
-- message's ULID, not from the event), the message, the type and the status. So an event that is read again lands in the
-- same partition under the same key and replaces itself when parts merge.
--
-- Small granules: a recompute reads a few minutes of many customers, at least one granule of each part for each customer.
CREATE TABLE IF NOT EXISTS sms_events{{ local }} {{ on_cluster }}
(
    customer_id         UUID CODEC(ZSTD),
    minute              DateTime('UTC') CODEC(Delta, ZSTD) COMMENT 'when the message was accepted, to the minute',
    message_id          UUID CODEC(ZSTD),
    type                LowCardinality(String) COMMENT 'accepted, status or refund',
    status              LowCardinality(String) COMMENT 'empty for a refund',
    rank                UInt8 COMMENT 'place of the status in its order: the current status is the furthest one',
    at                  DateTime64(3, 'UTC') CODEC(Delta, ZSTD) COMMENT 'when the event happened',
    due_at              DateTime64(3, 'UTC') CODEC(Delta, ZSTD) COMMENT 'of an accepted message that was scheduled; else 1970',
    operator            LowCardinality(String),
    operator_message_id String CODEC(ZSTD),
    country             LowCardinality(String),
    encoding            LowCardinality(String),
    error               LowCardinality(String),
    attempt             UInt16,
    segments            UInt16,
    cost                Int64 CODEC(T64, ZSTD) COMMENT 'minor units of the currency',
    refunded            Int64 CODEC(T64, ZSTD) COMMENT 'minor units of the currency',
    currency            LowCardinality(String)
)
ENGINE = {{ replicated }}ReplacingMergeTree(at)
PARTITION BY toYYYYMM(minute)
ORDER BY (customer_id, minute, message_id, type, status)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;
{% if cluster %}
CREATE TABLE IF NOT EXISTS sms_events {{ on_cluster }} AS sms_events{{ local }}
ENGINE = Distributed('{{ cluster }}', currentDatabase(), 'sms_events{{ local }}', sipHash64(customer_id));
{% endif %}

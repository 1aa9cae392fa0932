-- Statistics by the minute and the day at which messages were accepted (UTC); money in minor units.
--
-- A row holds a whole customer's minute (or day): `groups` has an element for each operator, country, encoding, status and
-- error, so that a message which moves on leaves nothing behind. Rows are computed from the raw events, never added to; of
-- a minute's rows the one with the greatest version counts. The version grows with every event that its row knows (see
-- docs/reporting.md), so whoever computes it, how often and in whatever order, the row that knows all events wins.
--
-- Times are counted in buckets: bucket b holds those of 2^(b/4) - 1 to 2^((b+1)/4) - 1 milliseconds.
CREATE TABLE IF NOT EXISTS sms_minutes{{ local }} {{ on_cluster }}
(
    customer_id UUID CODEC(ZSTD),
    minute      DateTime('UTC') CODEC(Delta, ZSTD),
    version     UInt64 CODEC(T64, ZSTD),
    groups      Nested
    (
        operator        LowCardinality(String),
        country         LowCardinality(String),
        encoding        LowCardinality(String),
        status          LowCardinality(String),
        error           LowCardinality(String),
        messages        UInt64,
        segments        UInt64,
        cost            Int64,
        refunded        Int64,
        submit_times    Map(UInt8, UInt64),
        delivery_times  Map(UInt8, UInt64)
    )
)
ENGINE = {{ replicated }}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (customer_id, minute)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS sms_days{{ local }} {{ on_cluster }}
(
    customer_id UUID CODEC(ZSTD),
    day         Date CODEC(Delta, ZSTD),
    version     UInt64 CODEC(T64, ZSTD),
    groups      Nested
    (
        operator        LowCardinality(String),
        country         LowCardinality(String),
        encoding        LowCardinality(String),
        status          LowCardinality(String),
        error           LowCardinality(String),
        messages        UInt64,
        segments        UInt64,
        cost            Int64,
        refunded        Int64,
        submit_times    Map(UInt8, UInt64),
        delivery_times  Map(UInt8, UInt64)
    )
)
ENGINE = {{ replicated }}ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (customer_id, day)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;
{% if cluster %}
CREATE TABLE IF NOT EXISTS sms_minutes {{ on_cluster }} AS sms_minutes{{ local }}
ENGINE = Distributed('{{ cluster }}', currentDatabase(), 'sms_minutes{{ local }}', sipHash64(customer_id));

CREATE TABLE IF NOT EXISTS sms_days {{ on_cluster }} AS sms_days{{ local }}
ENGINE = Distributed('{{ cluster }}', currentDatabase(), 'sms_days{{ local }}', sipHash64(customer_id));
{% endif %}
-- The same, one row for each group: to be summed by whatever is asked for.
CREATE OR REPLACE VIEW stats_minute_groups {{ on_cluster }} AS
SELECT
    customer_id,
    minute AS time,
    groups.operator AS operator,
    groups.country AS country,
    groups.encoding AS encoding,
    groups.status AS status,
    groups.error AS error,
    groups.messages AS messages,
    groups.segments AS segments,
    groups.cost AS cost,
    groups.refunded AS refunded,
    groups.submit_times AS submit_times,
    groups.delivery_times AS delivery_times
FROM sms_minutes FINAL
ARRAY JOIN groups
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW stats_daily_groups {{ on_cluster }} AS
SELECT
    customer_id,
    day,
    groups.operator AS operator,
    groups.country AS country,
    groups.encoding AS encoding,
    groups.status AS status,
    groups.error AS error,
    groups.messages AS messages,
    groups.segments AS segments,
    groups.cost AS cost,
    groups.refunded AS refunded,
    groups.submit_times AS submit_times,
    groups.delivery_times AS delivery_times
FROM sms_days FINAL
ARRAY JOIN groups
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- By customer, time and operator.
-- accepted = delivered + undelivered + failed + rejected + expired + canceled + pending.
CREATE OR REPLACE VIEW stats_minute {{ on_cluster }} AS
SELECT
    customer_id,
    time,
    operator,
    sum(messages) AS accepted,
    sum(part.segments) AS segments,
    sum(part.cost) AS cost,
    sumIf(messages, status = 'delivered') AS delivered,
    sumIf(messages, status = 'undelivered') AS undelivered,
    sumIf(messages, status = 'failed') AS failed,
    sumIf(messages, status = 'rejected') AS rejected,
    sumIf(messages, status = 'expired') AS expired,
    sumIf(messages, status = 'canceled') AS canceled,
    sumIf(messages, status NOT IN ('delivered', 'undelivered', 'failed', 'rejected', 'expired', 'canceled')) AS pending,
    sum(part.refunded) AS refunded,
    sumMap(part.submit_times) AS submit_times,
    sumMap(part.delivery_times) AS delivery_times
FROM stats_minute_groups AS part
GROUP BY customer_id, time, operator;

CREATE OR REPLACE VIEW stats_daily {{ on_cluster }} AS
SELECT
    customer_id,
    day,
    operator,
    sum(messages) AS accepted,
    sum(part.segments) AS segments,
    sum(part.cost) AS cost,
    sumIf(messages, status = 'delivered') AS delivered,
    sumIf(messages, status = 'undelivered') AS undelivered,
    sumIf(messages, status = 'failed') AS failed,
    sumIf(messages, status = 'rejected') AS rejected,
    sumIf(messages, status = 'expired') AS expired,
    sumIf(messages, status = 'canceled') AS canceled,
    sumIf(messages, status NOT IN ('delivered', 'undelivered', 'failed', 'rejected', 'expired', 'canceled')) AS pending,
    sum(part.refunded) AS refunded,
    sumMap(part.submit_times) AS submit_times,
    sumMap(part.delivery_times) AS delivery_times
FROM stats_daily_groups AS part
GROUP BY customer_id, day, operator;

-- Statistics by customer, operator and the time at which messages were accepted (UTC); money in minor units.
-- accepted = delivered + undelivered + failed + rejected + expired + canceled + pending.
CREATE OR REPLACE VIEW stats_minute AS
SELECT
    customer_id,
    minute AS time,
    operator,
    count() AS accepted,
    sum(segments) AS segments,
    sum(cost) AS cost,
    countIf(status = 'delivered') AS delivered,
    countIf(status = 'undelivered') AS undelivered,
    countIf(status = 'failed') AS failed,
    countIf(status = 'rejected') AS rejected,
    countIf(status = 'expired') AS expired,
    countIf(status = 'canceled') AS canceled,
    countIf(status NOT IN ('delivered', 'undelivered', 'failed', 'rejected', 'expired', 'canceled')) AS pending,
    sum(refunded) AS refunded
FROM sms_messages
GROUP BY customer_id, time, operator;

CREATE OR REPLACE VIEW stats_daily AS
SELECT
    customer_id,
    toDate(time) AS day,
    operator,
    sum(accepted) AS accepted,
    sum(segments) AS segments,
    sum(cost) AS cost,
    sum(delivered) AS delivered,
    sum(undelivered) AS undelivered,
    sum(failed) AS failed,
    sum(rejected) AS rejected,
    sum(expired) AS expired,
    sum(canceled) AS canceled,
    sum(pending) AS pending,
    sum(refunded) AS refunded
FROM stats_minute
GROUP BY customer_id, day, operator;

-- A message that waits for its hour is `scheduled`, as the list of messages says, and not `accepted`.
--
-- Raw events stay as they are. Minutes and days that were computed before keep `accepted` until they are computed again:
-- with the next event of the minute, or by `manage.py reconcile --repair`.
CREATE OR REPLACE VIEW sms_messages {{ on_cluster }} AS
SELECT
    customer_id,
    minute,
    message_id,
    maxIf(event.operator, event.type = 'accepted') AS operator,
    maxIf(event.country, event.type = 'accepted') AS country,
    maxIf(event.encoding, event.type = 'accepted') AS encoding,
    maxIf(event.segments, event.type = 'accepted') AS segments,
    maxIf(event.cost, event.type = 'accepted') AS cost,
    maxIf(event.currency, event.type = 'accepted') AS currency,
    if(
        argMaxIf(event.status, event.rank, event.type != 'refund') = 'accepted'
            AND maxIf(event.due_at, event.type = 'accepted') > toDateTime64(0, 3, 'UTC'),
        'scheduled',
        argMaxIf(event.status, event.rank, event.type != 'refund')
    ) AS status,
    argMaxIf(event.error, event.rank, event.type != 'refund') AS error,
    argMaxIf(event.operator, event.rank, event.type != 'refund') AS last_operator,
    argMaxIf(event.at, event.rank, event.type != 'refund') AS status_at,
    maxIf(event.operator_message_id, event.status = 'submitted') AS operator_message_id,
    max(event.attempt) AS attempts,
    maxIf(event.refunded, event.type = 'refund') AS refunded,
    maxIf(event.at, event.type = 'accepted') AS accepted_at,
    nullIf(maxIf(event.due_at, event.type = 'accepted'), toDateTime64(0, 3, 'UTC')) AS due_at,
    nullIf(maxIf(event.at, event.status = 'submitted'), toDateTime64(0, 3, 'UTC')) AS submitted_at,
    nullIf(maxIf(event.at, event.status = 'delivered'), toDateTime64(0, 3, 'UTC')) AS delivered_at,
    sum(1 + greatest(0, toUnixTimestamp64Milli(event.at) - toUnixTimestamp(minute) * 1000)) AS version
FROM sms_events AS event FINAL
GROUP BY customer_id, minute, message_id
HAVING countIf(event.type = 'accepted') > 0
SETTINGS do_not_merge_across_partitions_select_final = 1;

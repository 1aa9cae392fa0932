-- What is known of each accepted message, one row a message.
--
-- Repeats that have not merged yet change nothing here: a message is one group, and the largest of equal values is the
-- value. Grouping by the head of the table's key reads it in order, with memory for one message at a time.
-- A message whose status comes before its accepted event waits until that event is there.
CREATE OR REPLACE VIEW sms_messages AS
SELECT
    customer_id,
    minute,
    message_id,
    maxIf(operator, type = 'accepted') AS operator,
    maxIf(segments, type = 'accepted') AS segments,
    maxIf(cost, type = 'accepted') AS cost,
    argMaxIf(status, rank, type != 'refund') AS status,
    maxIf(refunded, type = 'refund') AS refunded
FROM sms_events
GROUP BY customer_id, minute, message_id
HAVING countIf(type = 'accepted') > 0
SETTINGS optimize_aggregation_in_order = 1;

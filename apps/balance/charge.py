"""The charge, as the part of an SQL statement that changes money.

A charge commits with what it pays for, and on the hot path every round trip to the database counts. So the caller
appends its own inserts to these common table expressions (CTEs), in the same statement.

Parameters: `customer_id`, `total` (the cost of all items, in minor units), `partial` (if the balance does not cover
all items, charge for the first ones). The caller puts two CTEs before these: `item (position, id, cost, cost_so_far)`,
with `position` from 1 and `cost_so_far` including the item; and `prior`, which has a row if this was charged already:
then nothing is locked or charged.

`locked` has the newest balance, however long it waited for the account's lock, so two clients never spend the same
balance. `charged` has one row if anything was charged, with the `count` of items, those up to that position; else it is
empty, and nothing is written.

The lock is one of two, by the setting `BALANCE_LOCK` (see `apps.balance.charge_locks`).
"""

from __future__ import annotations

_CHARGE = """
locked AS (
    SELECT account.customer_id, account.balance, customer.status
      FROM balance_account AS account
      JOIN customers_customer AS customer ON customer.id = account.customer_id
     WHERE account.customer_id = %(customer_id)s
       AND NOT EXISTS (SELECT FROM prior)
       {for_update}
),
bill AS (
    SELECT count(*) AS count, max(item.cost_so_far) AS total
      FROM item CROSS JOIN locked
     WHERE locked.status = 'active'
       AND item.cost_so_far <= locked.balance
       AND (%(partial)s OR %(total)s <= locked.balance)
),
charged AS (
    UPDATE balance_account AS account
       SET balance = account.balance - bill.total,
           entries = account.entries + bill.count
      FROM bill
     WHERE account.customer_id = %(customer_id)s
       AND bill.count > 0
       AND account.balance >= bill.total
 RETURNING account.customer_id, account.balance, account.entries, bill.count, bill.total
),
ledger AS (
    INSERT INTO balance_ledgerentry
           (id, customer_id, entry, kind, amount, balance_after, message_id, reference)
    SELECT item.id, charged.customer_id, charged.entries - charged.count + item.position, 'charge', -item.cost,
           charged.balance + charged.total - item.cost_so_far, item.id, ''
      FROM charged JOIN item ON item.position <= charged.count
)
"""

# SELECT … FOR UPDATE waits for the row's lock and then reads the newest balance.
CHARGE_UNDER_ROW_LOCK = _CHARGE.format(for_update="FOR UPDATE OF account")
# An earlier statement took the lock, so this statement's snapshot is newer than the lock.
CHARGE_UNDER_ADVISORY_LOCK = _CHARGE.format(for_update="")


# The same for several customers, each charged for all of its items or none. `item` also has a `customer_id`; `position`
# and `cost_so_far` count within the customer. `prior (customer_id)`: customers to skip. The array `payers` has all
# customers: it makes PostgreSQL find accounts by their key, whatever the planner estimates.
_CHARGE_SEVERAL = """
locked AS (
    SELECT account.customer_id, account.balance, customer.status
      FROM balance_account AS account
      JOIN customers_customer AS customer ON customer.id = account.customer_id
     WHERE account.customer_id = ANY(%(payers)s::uuid[])
       AND NOT EXISTS (SELECT FROM prior WHERE prior.customer_id = account.customer_id)
     ORDER BY account.customer_id
       FOR UPDATE OF account {wait}
),
bill AS (
    SELECT locked.customer_id, count(*) AS count, max(item.cost_so_far) AS total
      FROM item JOIN locked ON locked.customer_id = item.customer_id
     WHERE locked.status = 'active'
     GROUP BY locked.customer_id, locked.balance
    HAVING max(item.cost_so_far) <= locked.balance
),
charged AS (
    UPDATE balance_account AS account
       SET balance = account.balance - bill.total,
           entries = account.entries + bill.count
      FROM bill
     WHERE account.customer_id = ANY(%(payers)s::uuid[])
       AND account.customer_id = bill.customer_id
       AND account.balance >= bill.total
 RETURNING account.customer_id, account.balance, account.entries, bill.count, bill.total
),
ledger AS (
    INSERT INTO balance_ledgerentry
           (id, customer_id, entry, kind, amount, balance_after, message_id, reference)
    SELECT item.id, charged.customer_id, charged.entries - charged.count + item.position, 'charge', -item.cost,
           charged.balance + charged.total - item.cost_so_far, item.id, ''
      FROM charged JOIN item USING (customer_id)
)
"""

# Locks are taken in the order of the ids, so two such statements never deadlock.
CHARGE_SEVERAL_AND_WAIT = _CHARGE_SEVERAL.format(wait="")
CHARGE_SEVERAL_NOT_LOCKED = _CHARGE_SEVERAL.format(wait="SKIP LOCKED")

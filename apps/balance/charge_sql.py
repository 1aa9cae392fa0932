"""The charge, as the part of one SQL statement that touches money.

A charge commits with what it pays for, and every round trip to the database counts on the hot path, so the caller puts
its own inserts behind these common table expressions in the same statement.

Parameters: `customer_id`, `total` (minor units, of all items), `partial` (pay for the first items only, if the balance
does not cover all). The statement has before them two CTEs: `item (position, id, cost, cost_so_far)`, what is paid for,
`position` from 1, `cost_so_far` including the item; and `prior`, which has a row if this was paid for already: then
nothing is locked and nothing is charged.

`locked` has the newest balance, however long it waited for the account's lock; `charged` has one row if anything was
paid for, with the `count` of items: those up to that position; else none, and then nothing is written. Who waits for
the lock reads what the one before left: two clients never spend the same balance.

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

# SELECT … FOR UPDATE takes the row's lock and so reads the newest balance, however long it waited.
CHARGE_UNDER_ROW_LOCK = _CHARGE.format(for_update="FOR UPDATE OF account")
# The lock was taken by a statement before: this one's snapshot is newer than the lock.
CHARGE_UNDER_ADVISORY_LOCK = _CHARGE.format(for_update="")


# The same for the whole bill of each of several customers: `item` has besides a `customer_id`, and its `position` and
# `cost_so_far` count within the customer. `prior (customer_id)`: whose requests are not for this statement. The array
# `payers` has all customers: by it, not by joins, accounts are found, whatever the planner guesses.
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

# Locks are taken in the order of the ids, so two such statements never wait for each other in a circle.
CHARGE_SEVERAL_AND_WAIT = _CHARGE_SEVERAL.format(wait="")
CHARGE_SEVERAL_NOT_LOCKED = _CHARGE_SEVERAL.format(wait="SKIP LOCKED")

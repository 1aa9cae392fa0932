"""Money, in whole minor units (`bigint`). The ledger is append-only; an account has its running sum."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from smsgateway import ids


class Account(models.Model):
    """A customer's prepaid balance. Only this app's services change it, under its row lock.

    `entries` counts the account's ledger entries; it is the newest entry's number. Both change together, so the ledger
    of an account has no gaps, and `balance` = opening (archived entries) + sum of its amounts = `balance_after` of its
    newest entry.
    """

    customer = models.OneToOneField(
        "customers.Customer", primary_key=True, on_delete=models.PROTECT, related_name="account"
    )
    balance = models.BigIntegerField(default=0)
    entries = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(balance__gte=0), name="account_balance_not_negative")]
        permissions = [("topup_account", "Can top up"), ("adjust_account", "Can adjust a balance")]

    def __str__(self) -> str:
        return f"account of {ids.to_text(self.customer_id)}"


class LedgerEntry(models.Model):
    """One change of one balance. Range-partitioned on `id`, a ULID.

    A charge has its message's id as its own id, so the primary key ensures that a message is charged once.
    """

    class Kind(models.TextChoices):
        TOP_UP = "topup"
        CHARGE = "charge"
        REFUND = "refund"
        ADJUSTMENT = "adjustment"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    customer_id = models.UUIDField()
    entry = models.BigIntegerField(help_text="Number within the account, from 1, without gaps.")
    kind = models.CharField(max_length=12, choices=Kind)
    amount = models.BigIntegerField(help_text="Signed, in minor units: charges are negative.")
    balance_after = models.BigIntegerField()
    message_id = models.UUIDField(null=True)
    reference = models.CharField(max_length=200, default="", help_text="Of a top-up; the reason of an adjustment.")

    class Meta:
        managed = False  # partitioned: its migration is SQL
        db_table = "balance_ledgerentry"

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class BookedForm(models.Model):
    """A form that booked an entry: if it is confirmed again, it books nothing more.

    The form's id is made when the form is shown. The entry's id is made when it is booked, so that it has that time.
    """

    id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    entry_id = models.UUIDField(help_text="Of the ledger.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"form {ids.to_text(self.id)}"


class MoneyOutboxEntry(models.Model):
    """An event of a booking or a new account that waits for Kafka; see `apps.balance.outbox`."""

    id = models.BigAutoField(primary_key=True)
    customer_id = models.UUIDField()
    payload = models.BinaryField(help_text="An event of the money topic, encoded.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"money outbox {self.id}"


class LowBalance(models.Model):
    """A customer to notify once when its balance falls below `threshold`. See `apps.balance.low_balance`.

    `told_at`: when the low balance was found. A top-up to the threshold or above clears it.
    """

    customer = models.OneToOneField(
        "customers.Customer", primary_key=True, on_delete=models.CASCADE, related_name="low_balance"
    )
    threshold = models.BigIntegerField(help_text="Minor units.")
    told_at = models.DateTimeField(null=True)
    mail_at = models.DateTimeField(null=True, help_text="When its e-mail is due, or the end of a lease.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(threshold__gte=1), name="low_balance_threshold_positive")]

    def __str__(self) -> str:
        return f"below {self.threshold}"


class Closing(models.Model):
    """The sum of an account's entries in an archived partition of the ledger. It replaces them."""

    pk = models.CompositePrimaryKey("customer_id", "partition")
    customer_id = models.UUIDField()
    partition = models.TextField(help_text="Of the ledger.")
    amount = models.BigIntegerField(help_text="Sum of its entries.")
    entries = models.BigIntegerField(help_text="How many it has.")
    first_entry = models.BigIntegerField(help_text="Lowest number of them.")
    last_entry = models.BigIntegerField(help_text="Highest number of them.")
    balance_after = models.BigIntegerField(help_text="The closing balance: after its highest entry.")

    class Meta:
        managed = False  # it belongs to a partitioned table: its migration is SQL
        db_table = "balance_closing"

    def __str__(self) -> str:
        return f"{self.partition} {self.amount}"


class Opening(models.Model):
    """A view: an account's balance and number of entries before its first entry that is not archived.

    Accounts without archived entries have no row.
    """

    customer_id = models.UUIDField(primary_key=True)
    balance = models.BigIntegerField()
    entries = models.BigIntegerField()

    class Meta:
        managed = False  # a view: its migration is SQL
        db_table = "balance_opening"

    def __str__(self) -> str:
        return f"{self.balance}"

"""Money: whole minor units in `bigint`. The ledger only grows; an account is its running sum."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from smsgateway import ids


class Account(models.Model):
    """A customer's prepaid balance. Changed only by this app's services, under its row lock.

    `entries` counts the account's ledger entries: the newest entry's number. Both change together, so the ledger of an
    account is gapless, and `balance` = sum of its amounts = `balance_after` of its newest entry.
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

    A charge carries its message's id as its own: that a message is charged once is the primary key's to keep.
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


class LowBalance(models.Model):
    """That a customer is to be told, once, when its balance falls below `threshold`. See `apps.balance.alerts`.

    `told_at` is set when it was noticed, and cleared by a top-up that lifts the balance to the threshold or above.
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


def balance_consistency() -> models.QuerySet[Account]:
    """Accounts whose balance is not the sum of their ledger. Empty, unless something is broken."""
    total = models.Subquery(
        LedgerEntry.objects.filter(customer_id=models.OuterRef("customer_id"))
        .values("customer_id")
        .annotate(total=models.Sum("amount"))
        .values("total")
    )
    return Account.objects.annotate(ledger_sum=Coalesce(total, 0, output_field=models.BigIntegerField())).exclude(
        balance=F("ledger_sum")
    )

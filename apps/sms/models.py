"""Messages, their status log and submitted parts, range-partitioned by ULID; the outbox, schedule, receipts, rates,
routes and callbacks."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from apps.sms import senders, statuses
from smsgateway import ids, money

# Multiplied by 255 segments and the largest batch it still fits a bigint.
MAX_PRICE = 10**11


class Message(models.Model):
    """A message as it was accepted and charged. It never changes; its statuses are in the status log."""

    class Encoding(models.TextChoices):
        GSM7 = "gsm7"
        UCS2 = "ucs2"

    class Priority(models.TextChoices):
        OTP = "otp"
        NORMAL = "normal"
        BULK = "bulk"

    id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    recipient = models.TextField(help_text="E.164.")
    sender = models.TextField()
    text = models.TextField()
    encoding = models.TextField(choices=Encoding)
    segments = models.SmallIntegerField()
    cost = models.BigIntegerField(help_text="Minor units.")
    operator = models.TextField(help_text="First choice of the routes at the time it was accepted.")
    reference = models.TextField(help_text="The caller's own.")
    expires_at = models.DateTimeField()
    send_at = models.DateTimeField(null=True, help_text="Not before this time.")
    priority = models.TextField(choices=Priority)
    callback_url = models.TextField()
    metadata = models.JSONField(null=True, help_text="The caller's own.")

    class Meta:
        managed = False  # partitioned: its migration is SQL
        db_table = "sms_message"
        permissions = [("cancel_message", "Can cancel a message")]

    def __str__(self) -> str:
        return ids.to_text(self.id)


class StatusEntry(models.Model):
    """A status that a message reached. One row for each status of a message, however often its event comes.

    `refund` is what was refunded with this status; a unique index allows one such row for each message.
    """

    pk = models.CompositePrimaryKey("message_id", "status")
    message_id = models.UUIDField()
    status = models.TextField(choices=[(status, status) for status in statuses.ORDER])
    at = models.DateTimeField()
    operator = models.TextField()
    operator_message_id = models.TextField()
    error = models.TextField()
    attempt = models.SmallIntegerField()
    refund = models.BigIntegerField(default=0)

    class Meta:
        managed = False  # partitioned: its migration is SQL
        db_table = "sms_statusentry"

    def __str__(self) -> str:
        return self.status


class SubmittedPart(models.Model):
    """A part of a message that an operator accepted, with the operator's id of it, by which receipts find the message.

    Each submit of a message has one row for each part. They share a `submission_id`: a ULID of the time when the submit
    was recorded, by which the table is range-partitioned.
    """

    pk = models.CompositePrimaryKey("submission_id", "part")
    submission_id = models.UUIDField()
    part = models.SmallIntegerField(help_text="From 1.")
    parts = models.SmallIntegerField()
    message_id = models.UUIDField()
    operator = models.TextField()
    operator_message_id = models.TextField()
    status = models.TextField(help_text="Its receipt's, kept where the message has several parts.")

    class Meta:
        managed = False  # partitioned: its migration is SQL
        db_table = "sms_submittedpart"

    def __str__(self) -> str:
        return f"{self.operator} {self.operator_message_id}"


class WaitingReceipt(models.Model):
    """A receipt whose submit is not recorded yet. Its id has the time when it arrived."""

    id = models.UUIDField(primary_key=True)
    operator = models.TextField()
    operator_message_id = models.TextField()
    reference = models.UUIDField(null=True, help_text="Our message id, if the operator gave it back.")
    status = models.TextField()
    error = models.TextField()
    at = models.BigIntegerField(help_text="Milliseconds since 1970 UTC.")
    request_id = models.TextField()
    state = models.TextField(default="", help_text="The operator's word for the status.")
    tlvs = models.TextField(default="", help_text="Parameters that the operator's settings keep: JSON, or empty.")

    class Meta:
        managed = False  # storage settings: its migration is SQL
        db_table = "sms_waitingreceipt"

    def __str__(self) -> str:
        return f"{self.operator} {self.operator_message_id}"


class ReceiptNote(models.Model):
    """What an operator reported of a message beside its final status: the newest state on its way, kept parameters."""

    message_id = models.UUIDField(primary_key=True)
    operator = models.TextField()
    operator_message_id = models.TextField()
    state = models.TextField(help_text="The operator's word.")
    error = models.TextField()
    at = models.BigIntegerField(help_text="Milliseconds since 1970 UTC.")
    tlvs = models.JSONField(help_text="Parameters that the operator's settings keep, by tag, in hexadecimal.")

    class Meta:
        db_table = "sms_receiptnote"

    def __str__(self) -> str:
        return f"{self.operator} {self.operator_message_id} {self.state}"


class ReceiptSweep(models.Model):
    """One row: the submission up to which messages were checked for missing receipts."""

    id = models.SmallIntegerField(primary_key=True)
    position = models.UUIDField()

    class Meta:
        managed = False  # its row is there from the start: its migration is SQL
        db_table = "sms_receiptsweep"

    def __str__(self) -> str:
        return ids.to_text(self.position)


class IdempotencyRecord(models.Model):
    """The response to a request with an Idempotency-Key. It commits with the charge.

    `body` is the response without the balance: only the charge itself knows that, so it is kept in a column beside it.
    """

    pk = models.CompositePrimaryKey("customer_id", "key")
    customer_id = models.UUIDField()
    key = models.TextField()
    fingerprint = models.BinaryField(help_text="SHA-256 of path and body.")
    body = models.TextField()
    cut_at = models.IntegerField(null=True, help_text="If the balance ended: how many messages of the body it paid.")
    balance = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return self.key


class ScheduledEntry(models.Model):
    """A scheduled message that is not due yet. The process that deletes the row sends the message, or cancels it."""

    message_id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    send_at = models.DateTimeField()
    request_id = models.TextField(default="")

    class Meta:
        managed = False  # its migration is SQL, beside the columns that belong to it
        db_table = "sms_scheduledentry"

    def __str__(self) -> str:
        return f"{ids.to_text(self.message_id)} at {self.send_at}"


class HeldMessage(models.Model):
    """A message that is not sent while its customer is suspended; see `apps.sms.suspension.held_messages`.

    Its row stays for some days after its release (`is_held` is false), so that a repeated event does not hold it again.
    """

    message_id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    rank = models.SmallIntegerField(help_text="0: otp, 1: normal, 2: bulk.")
    due_at = models.DateTimeField(help_text="When it was accepted, or was to be sent: its place in order.")
    expires_at = models.DateTimeField()
    copy = models.BigIntegerField(help_text="Which published `delivery` it is, in milliseconds.")
    is_held = models.BooleanField(default=True)
    is_going = models.BooleanField(
        default=False, db_default=False, help_text="Kafka may have it already: it is not canceled any more."
    )
    held_at = models.DateTimeField()
    attempts = models.SmallIntegerField(default=0)
    delays = models.SmallIntegerField(default=0)
    refused = ArrayField(models.TextField(), default=list, help_text="Connections that refused it for good.")
    request_id = models.TextField(default="")

    class Meta:
        indexes = [
            models.Index(
                fields=["customer_id", "rank", "due_at", "message_id"],
                condition=models.Q(is_held=True),
                name="sms_heldmessage_customer",
            ),
            models.Index(fields=["expires_at"], condition=models.Q(is_held=True), name="sms_heldmessage_expiry"),
            models.Index(fields=["copy"], condition=models.Q(is_held=False), name="sms_heldmessage_released"),
            models.Index(fields=["message_id"], condition=models.Q(is_going=True), name="sms_heldmessage_going"),
        ]

    def __str__(self) -> str:
        return ids.to_text(self.message_id)


class Rate(models.Model):
    """The price of a segment to numbers that begin with a prefix, for all customers or for one."""

    customer = models.ForeignKey("customers.Customer", null=True, blank=True, on_delete=models.CASCADE)
    prefix = models.CharField(
        max_length=15,
        blank=True,
        validators=[
            RegexValidator(r"\A([1-9][0-9]*)?\Z", "Digits of E.164 without the plus, as 98912; empty for all numbers.")
        ],
    )
    price = models.BigIntegerField(
        validators=[MinValueValidator(0), MaxValueValidator(MAX_PRICE)], help_text="Minor units a segment."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["customer", "prefix"], name="one_rate_a_prefix", nulls_distinct=False),
            models.CheckConstraint(condition=models.Q(price__gte=0, price__lte=MAX_PRICE), name="rate_price_bounded"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix or 'all'}: {money.with_currency(self.price, settings.CONFIG.sms.currency)}"


class Callback(models.Model):
    """A notification to a customer: a message reached a status, the balance is low, or a test.

    One row for each message and status. While it is pending, `next_at` is when it is due. A process that sends it moves
    `next_at` to the end of its lease, so that the row of a process that was killed becomes due again by itself.
    """

    TEST = "test"
    LOW_BALANCE = "balance.low"

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    customer_id = models.UUIDField()
    message_id = models.UUIDField(null=True, help_text="None for a test and a low balance.")
    event = models.TextField(help_text="The message's status, test or balance.low.")
    at = models.DateTimeField(help_text="When the message reached the status.")
    url = models.TextField(default="", help_text="The message's own; empty: the customer's endpoint.")
    host = models.TextField(
        default="", db_default="", help_text="Scheme, host and port of the message's own URL; empty: the endpoint."
    )
    status = models.TextField(choices=Status, default=Status.PENDING)
    attempts = models.SmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, help_text="When it is due, while it is pending.")
    last_at = models.DateTimeField(null=True)
    last_url = models.TextField(default="")
    last_http_status = models.SmallIntegerField(null=True)
    last_error = models.TextField(default="")
    data = models.JSONField(null=True, help_text="What is told, if it is not of a message.")

    class Meta:
        permissions = [("replay_callback", "Can send a callback again")]
        constraints = [models.UniqueConstraint(fields=["message_id", "event"], name="one_callback_a_status")]
        indexes = [
            models.Index(fields=["customer_id", "id"], name="sms_callback_customer"),
            models.Index(
                fields=["customer_id", "next_at"], condition=models.Q(status="pending"), name="sms_callback_pending"
            ),
            models.Index(
                fields=["customer_id", "host", "next_at"],
                condition=models.Q(status="pending"),
                name="sms_callback_lane",
            ),
            models.Index(fields=["id"], condition=models.Q(status="failed"), name="sms_callback_failed"),
        ]

    def __str__(self) -> str:
        return f"{ids.to_text(self.id)} {self.event}"


_PREFIX = RegexValidator(r"\A[1-9][0-9]{0,14}\Z", "Digits of E.164 without the plus, as 98912.")


class Route(models.Model):
    """The connections on which messages that meet all its conditions are tried. Every message meets an empty condition.

    Triggers on this table and on its targets count up `sms_routingversion` at any change, also by SQL. Workers get the
    new table from Kafka (see `apps.sms.routing.publisher`); the API polls the version.
    """

    rank = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(32_767)],
        help_text="The lowest rank goes first; among equal ranks the more specific route.",
    )
    prefixes = ArrayField(
        models.CharField(max_length=15, validators=[_PREFIX]),
        default=list,
        blank=True,
        help_text="The number begins with one of these; the longest that matches counts. Empty: any number.",
    )
    customer = models.ForeignKey(
        "customers.Customer", null=True, blank=True, on_delete=models.CASCADE, help_text="Empty: any customer."
    )
    sender = models.CharField(
        "sender id", max_length=senders.LONGEST, blank=True, help_text="Exactly this sender id. Empty: any."
    )
    carrier = models.CharField(
        max_length=50, blank=True, help_text="The number's prefix belongs to this operator. Empty: any."
    )
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["rank", "id"]

    def __str__(self) -> str:
        return f"route {self.pk}"


class RouteTarget(models.Model):
    """A connection that a route leads to."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets")
    operator = models.CharField(max_length=50, help_text="Name of an operator connection.")
    preference = models.PositiveSmallIntegerField(
        default=1,
        validators=[MaxValueValidator(32_767)],
        help_text="The lowest is tried first, the next when it fails.",
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Share of the messages among targets of equal preference.",
    )

    class Meta:
        ordering = ["preference", "-weight", "operator"]
        constraints = [
            models.UniqueConstraint(
                fields=["route", "operator"],
                name="route_target_once",
                violation_error_message="A route has each connection once.",
            ),
            models.CheckConstraint(condition=models.Q(weight__gte=1, weight__lte=1000), name="route_weight_bounded"),
        ]

    def __str__(self) -> str:
        return self.operator


class OutboxEntry(models.Model):
    """An event that waits for Kafka. It commits with the change that it reports; the relay publishes and deletes it.

    Without a payload it stands for an accepted message. The relay makes that message's events from its row: that it was
    accepted, and that it is to be delivered. `due` marks a scheduled message whose time has come.
    """

    id = models.BigAutoField(primary_key=True)
    customer_id = models.UUIDField()
    message_id = models.UUIDField()
    payload = models.BinaryField(null=True, help_text="An event of the status topic, or that it was accepted, encoded.")
    request_id = models.TextField(default="")
    due = models.BooleanField(default=False)

    class Meta:
        managed = False  # storage settings and an identity column: its migration is SQL
        db_table = "sms_outboxentry"

    def __str__(self) -> str:
        return f"outbox {self.id}"

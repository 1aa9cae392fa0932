"""Customers, their API keys, and where their callbacks go."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models

from smsgateway import ids


class RefundOn(models.TextChoices):
    """The failures that can refund a message."""

    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNDELIVERED = "undelivered"


def every_failure() -> list[str]:
    """The refund policy of a new customer."""
    return list(RefundOn.values)


class Customer(models.Model):
    """A business that sends messages and pays in advance."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    segments_per_second = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1)],
        help_text="Pace: segments a second that workers hand to operators for this customer.",
    )
    messages_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many messages it may hand in; empty: API_MESSAGES_PER_MINUTE.",
    )
    refund_on = ArrayField(
        models.CharField(max_length=12, choices=RefundOn),
        default=every_failure,
        blank=True,
        help_text="The failures that give a message's cost back. What is canceled is refunded in any case.",
    )
    email = models.EmailField(
        blank=True, default="", db_default="", help_text="Who is written to, such as when the balance is low."
    )
    phone = models.CharField(
        max_length=16, blank=True, default="", db_default="", help_text="Of whom we call, in E.164."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["name", "id"], name="customer_by_name"),
            models.Index(fields=["phone"], name="customer_by_phone", condition=~models.Q(phone="")),
            models.Index(
                fields=["id"], name="customer_by_own_limit", condition=models.Q(messages_per_minute__isnull=False)
            ),
        ]
        permissions = [("suspend_customer", "Can suspend a customer, and let it send again")]
        constraints = [
            models.CheckConstraint(condition=models.Q(segments_per_second__gte=1), name="customer_pace_positive"),
            models.CheckConstraint(
                condition=models.Q(refund_on__contained_by=RefundOn.values), name="customer_refunds_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({ids.to_text(self.id)})"


class ApiKey(models.Model):
    """An API key of one customer. The key itself is shown once, when it is created, and not stored."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="api_keys")
    prefix = models.CharField(max_length=8, unique=True, help_text="The part by which it is found and named.")
    digest = models.BinaryField(help_text="SHA-256 of the whole key.")
    label = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, help_text="It works until then: a rotated key for a while.")
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")

    def __str__(self) -> str:
        return f"sgw_{self.prefix} {self.label}".strip()


class CallbackEndpoint(models.Model):
    """The URL that a customer's callbacks go to. While `disabled_at` is set, no callbacks are sent."""

    customer = models.OneToOneField(
        Customer, primary_key=True, on_delete=models.CASCADE, related_name="callback_endpoint"
    )
    url = models.CharField(max_length=2048)
    statuses = ArrayField(models.CharField(max_length=16), help_text="Statuses of messages that it is told of.")
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.url


class CallbackSecret(models.Model):
    """A key that signs a customer's callbacks. Several may be valid at once: each adds a signature.

    It is symmetric (HMAC), so it is stored unhashed. It is shown only when it is created.
    """

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="callback_secrets")
    secret = models.CharField(max_length=100, help_text="whsec_ and the key in base64.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="It signs until then; empty: no end is set.")

    def __str__(self) -> str:
        return f"of {self.created_at:%Y-%m-%d}"  # never the secret


class CallbackHealth(models.Model):
    """A customer's endpoint, or a host in its messages' callback URLs, whose latest calls have all failed.

    No row: the last call succeeded. While `paused_until` is set, every process sends nothing there except one probe
    each time that it has passed.
    """

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="callback_health")
    host = models.TextField(blank=True, help_text="Scheme, host and port; empty: the customer's endpoint.")
    failures = models.PositiveIntegerField(help_text="Calls that have failed since one got through.")
    failing_since = models.DateTimeField()
    pauses = models.PositiveIntegerField(default=0, help_text="How often it was paused since then; 0: it is not.")
    paused_until = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    mail_at = models.DateTimeField(null=True, help_text="When the customer's e-mail is due, or the end of a lease.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "host"], name="one_health_a_host")]
        indexes = [
            models.Index(fields=["mail_at"], name="callback_health_mails", condition=models.Q(mail_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.host or 'endpoint'}: {self.failures} failures"

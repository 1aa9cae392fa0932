"""The audit log: what people did in the admin. Rows are only added; a trigger refuses changes."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models

from smsgateway import ids


class Act(models.Model):
    """One act of one person, committed together with what was done. Its id, a ULID, holds the time.

    Names are copied, so an act stays readable after its person or its object was deleted.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    user_id = models.BigIntegerField()
    user_name = models.CharField(max_length=150)
    act = models.CharField(max_length=40, help_text="What was done, such as balance.topup.")
    customer_id = models.UUIDField(null=True, help_text="The customer concerned, if one is.")
    subject = models.CharField(max_length=200, help_text="What it was done to, in words.")
    why = models.CharField(max_length=500, blank=True, help_text="The reason that was given.")
    details = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["customer_id", "id"], name="console_act_customer"),
            models.Index(fields=["user_name", "id"], name="console_act_user"),
        ]
        default_permissions = ("view",)
        permissions = [
            ("view_gateway", "Can view the start page, operators and what is stuck"),
            ("view_deadletter", "Can view dead letters"),
            ("replay_deadletter", "Can replay dead letters"),
            ("import_rates", "Can import rates"),
        ]

    def __str__(self) -> str:
        return f"{self.act} by {self.user_name}"


class RoleRule(models.Model):
    """What a role asks of the logins of its people."""

    role = models.OneToOneField(Group, on_delete=models.CASCADE, primary_key=True, related_name="rule")
    second_factor = models.BooleanField(
        "second factor required",
        default=False,
        help_text="People with this role need a one-time code at each login; superusers too, if any role does.",
    )

    class Meta:
        default_permissions = ()
        verbose_name = verbose_name_plural = "logins"

    def __str__(self) -> str:
        return f"second factor {'required' if self.second_factor else 'optional'}"


class SignOn(models.Model):
    """A user's identity at the provider of single sign-on."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="console_signon_identity")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"

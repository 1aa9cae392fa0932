"""Tables of the gateway itself."""

from __future__ import annotations

from django.db import models


class ArchivedPartition(models.Model):
    """A partition that is, was, or is about to be archived, and the state it is in; see `smsgateway.partitions`."""

    class State(models.TextChoices):
        SEALED = "sealed"  # writes are refused; its archive is not complete yet
        VERIFIED = "verified"  # its archive is complete; it can be dropped
        ARCHIVED = "archived"
        RESTORED = "restored"  # attached again; its archive stays

    partition = models.TextField(primary_key=True)
    parent = models.TextField()
    low = models.UUIDField()
    high = models.UUIDField()
    state = models.TextField(choices=State)
    number = models.IntegerField(help_text="How many times it was archived.")
    sealed_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)
    keep_until = models.DateTimeField(null=True, help_text="When a restored one may be archived again.")
    manifest = models.JSONField(default=dict, help_text="Of its newest archive that is whole.")

    class Meta:
        managed = False  # its migration is SQL, because it also creates a function
        db_table = "partition_archive"

    def __str__(self) -> str:
        return f"{self.partition} {self.state}"

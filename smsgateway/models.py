"""What the gateway keeps for itself."""

from __future__ import annotations

from django.db import models


class ArchivedPartition(models.Model):
    """A partition that is, was, or is about to be in the archive, and how far it came; see `smsgateway.partitions`."""

    class State(models.TextChoices):
        SEALED = "sealed"  # nothing is written to it any more; its archive is not whole yet
        VERIFIED = "verified"  # its archive is whole; it is to be dropped
        ARCHIVED = "archived"
        RESTORED = "restored"  # it is attached again; its archive stays

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
        managed = False  # beside a function: its migration is SQL
        db_table = "partition_archive"

    def __str__(self) -> str:
        return f"{self.partition} {self.state}"

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


class KafkaPosition(models.Model):
    """How far this database knows a partition of Kafka: what it has read of it, or written to it.

    It is restored with the database. So it shows from where Kafka knows more; see `smsgateway.kafka.positions`.
    """

    pk = models.CompositePrimaryKey("topic", "partition")
    topic = models.TextField()
    partition = models.IntegerField()
    position = models.BigIntegerField(help_text="The next offset.")
    at = models.DateTimeField(help_text="When it was recorded.")

    class Meta:
        db_table = "kafka_position"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.topic} {self.partition}: {self.position}"

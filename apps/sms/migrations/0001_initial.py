from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("recipient", models.TextField(help_text="E.164.")),
                ("sender", models.TextField()),
                ("text", models.TextField()),
                ("encoding", models.TextField(choices=[("gsm7", "Gsm7"), ("ucs2", "Ucs2")])),
                ("segments", models.SmallIntegerField()),
                ("cost", models.BigIntegerField(help_text="Minor units.")),
                ("operator", models.TextField(help_text="Route by the number's prefix at the time it was accepted.")),
                ("reference", models.TextField(help_text="The caller's own.")),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "sms_message",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("message_id", models.UUIDField()),
                ("payload", models.BinaryField(help_text="A status-topic event, encoded.", null=True)),
                ("request_id", models.TextField(default="")),
            ],
            options={
                "db_table": "sms_outboxentry",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="StatusEntry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "message_id", "status", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("message_id", models.UUIDField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("accepted", "accepted"),
                            ("scheduled", "scheduled"),
                            ("queued", "queued"),
                            ("submitted", "submitted"),
                            ("unknown", "unknown"),
                            ("canceled", "canceled"),
                            ("expired", "expired"),
                            ("rejected", "rejected"),
                            ("failed", "failed"),
                            ("undelivered", "undelivered"),
                            ("delivered", "delivered"),
                        ]
                    ),
                ),
                ("at", models.DateTimeField()),
                ("operator", models.TextField()),
                ("operator_message_id", models.TextField()),
                ("error", models.TextField()),
                ("attempt", models.SmallIntegerField()),
                ("refund", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "sms_statusentry",
                "managed": False,
            },
        ),
    ]

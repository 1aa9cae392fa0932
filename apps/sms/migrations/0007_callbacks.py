from django.db import migrations, models

import smsgateway.ids


class Migration(migrations.Migration):
    dependencies = [
        ("sms", "0006_receipts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Callback",
            fields=[
                (
                    "id",
                    models.UUIDField(default=smsgateway.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("customer_id", models.UUIDField()),
                ("message_id", models.UUIDField(help_text="None for a test.", null=True)),
                ("event", models.TextField(help_text="The message's status, or test.")),
                ("at", models.DateTimeField(help_text="When the message reached the status.")),
                ("url", models.TextField(default="", help_text="The message's own; empty: the customer's endpoint.")),
                (
                    "status",
                    models.TextField(
                        choices=[("pending", "Pending"), ("delivered", "Delivered"), ("failed", "Failed")],
                        default="pending",
                    ),
                ),
                ("attempts", models.SmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(help_text="When it is due, while it is pending.", null=True)),
                ("last_at", models.DateTimeField(null=True)),
                ("last_url", models.TextField(default="")),
                ("last_http_status", models.SmallIntegerField(null=True)),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["customer_id", "id"], name="sms_callback_customer"),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["customer_id", "next_at"],
                        name="sms_callback_pending",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("message_id", "event"), name="one_callback_a_status")],
            },
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sms", "0016_held_messages_going")]

    operations = [
        # Defaults of the database: the version before goes on writing rows.
        migrations.RunSQL(
            """
            ALTER TABLE sms_waitingreceipt
              ADD COLUMN IF NOT EXISTS state text NOT NULL DEFAULT '',
              ADD COLUMN IF NOT EXISTS tlvs text NOT NULL DEFAULT ''
            """,
            "ALTER TABLE sms_waitingreceipt DROP COLUMN state, DROP COLUMN tlvs",
        ),
        migrations.CreateModel(
            name="ReceiptNote",
            fields=[
                ("message_id", models.UUIDField(primary_key=True, serialize=False)),
                ("operator", models.TextField()),
                ("operator_message_id", models.TextField()),
                ("state", models.TextField(help_text="The operator's word.")),
                ("error", models.TextField()),
                ("at", models.BigIntegerField(help_text="Milliseconds since 1970 UTC.")),
                (
                    "tlvs",
                    models.JSONField(help_text="Parameters that the operator's settings keep, by tag, in hexadecimal."),
                ),
            ],
            options={"db_table": "sms_receiptnote"},
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    """Receipts with our reference wait too, until it is recorded that their operator got the message.

    Nullable, and the table holds the receipts of seconds: both steps take no time. Older processes leave it NULL.
    """

    dependencies = [("sms", "0011_sendable_senders")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE sms_waitingreceipt ADD COLUMN reference uuid;
            CREATE INDEX sms_waitingreceipt_reference ON sms_waitingreceipt (reference, operator)
             WHERE reference IS NOT NULL;
            """,
            "ALTER TABLE sms_waitingreceipt DROP COLUMN reference",
        ),
        # Not managed: Django only learns of it here.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="waitingreceipt",
                    name="reference",
                    field=models.UUIDField(help_text="Our message id, if the operator gave it back.", null=True),
                ),
            ],
        ),
    ]

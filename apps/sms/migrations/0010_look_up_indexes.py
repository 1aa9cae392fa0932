from django.db import migrations, models

from smsgateway.partitions.indexing import Index, index_build, index_build_on_one, index_replace


def build(apps, schema_editor):
    """Messages are looked up by number, and by reference whoever's it is; the second serves one customer's as before."""
    index_build(Index("sms_message", "sms_message_recipient", ["recipient", "id"]))
    index_replace(
        Index("sms_message", "sms_message_reference", ["reference", "customer_id", "id"], where="reference <> ''")
    )
    index_build_on_one(Index("sms_callback", "sms_callback_failed", ["id"], where="status = 'failed'"))


class Migration(migrations.Migration):
    atomic = False  # sends go on meanwhile; interrupted, it is run again

    dependencies = [("sms", "0009_look_ups")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                # Backwards the indexes stay: the code of before reads and writes with them as well.
                migrations.RunPython(build, migrations.RunPython.noop),
            ],
            state_operations=[
                migrations.AddIndex(
                    model_name="callback",
                    index=models.Index(
                        condition=models.Q(("status", "failed")), fields=["id"], name="sms_callback_failed"
                    ),
                ),
            ],
        ),
    ]

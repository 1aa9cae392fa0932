from django.db import migrations, models

from smsgateway.partitions.indexing import Index, index_build_on_one

# Callbacks that wait with a URL of their message's own, a portion at a time.
_HOSTS = """
UPDATE sms_callback
   SET host = coalesce(lower(substring(url FROM '^[^:/?#]+://[^/?#]+')), '')
 WHERE id IN (SELECT id FROM sms_callback
               WHERE status = 'pending' AND url <> '' AND host = '' AND url ~ '^[^:/?#]+://[^/?#]+' LIMIT 5000)
"""


def build(apps, schema_editor):
    index_build_on_one(
        Index("sms_callback", "sms_callback_lane", ["customer_id", "host", "next_at"], where="status = 'pending'")
    )
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_HOSTS)
        while cursor.rowcount:
            cursor.execute(_HOSTS)


class Migration(migrations.Migration):
    atomic = False  # callbacks go on meanwhile; interrupted, it is run again

    dependencies = [("sms", "0012_waiting_receipt_references"), ("customers", "0007_limits_and_callback_health")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                # A default of the database: the version before goes on writing rows.
                migrations.RunSQL(
                    "ALTER TABLE sms_callback ADD COLUMN IF NOT EXISTS host text NOT NULL DEFAULT ''",
                    migrations.RunSQL.noop,
                ),
                # Backwards column and index stay: the code of before reads and writes with them as well.
                migrations.RunPython(build, migrations.RunPython.noop),
            ],
            state_operations=[
                migrations.AddField(
                    model_name="callback",
                    name="host",
                    field=models.TextField(
                        db_default="",
                        default="",
                        help_text="Scheme, host and port of the message's own URL; empty: the endpoint.",
                    ),
                ),
                migrations.AddIndex(
                    model_name="callback",
                    index=models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["customer_id", "host", "next_at"],
                        name="sms_callback_lane",
                    ),
                ),
            ],
        ),
    ]

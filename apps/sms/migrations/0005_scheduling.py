from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sms", "0004_rates")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE sms_message
                ADD COLUMN priority text NOT NULL DEFAULT 'normal',
                ADD COLUMN send_at timestamptz,
                ADD COLUMN callback_url text NOT NULL DEFAULT '',
                ADD COLUMN metadata jsonb;
            CREATE INDEX sms_message_reference ON sms_message (customer_id, reference, id) WHERE reference <> '';

            CREATE TABLE sms_scheduledentry (
                message_id uuid PRIMARY KEY,
                customer_id uuid NOT NULL,
                send_at timestamptz NOT NULL,
                request_id text NOT NULL DEFAULT ''
            );
            CREATE INDEX sms_scheduledentry_send_at ON sms_scheduledentry (send_at);

            ALTER TABLE sms_outboxentry ADD COLUMN due boolean NOT NULL DEFAULT false;

            """,
            """
            ALTER TABLE sms_outboxentry DROP COLUMN due;
            DROP TABLE sms_scheduledentry;
            DROP INDEX sms_message_reference;
            ALTER TABLE sms_message DROP COLUMN priority, DROP COLUMN send_at, DROP COLUMN callback_url,
                DROP COLUMN metadata;
            """,
        ),
        migrations.AddField(
            "idempotencyrecord",
            "cut_at",
            models.IntegerField(null=True, help_text="If the balance ended: how many messages of the body it paid."),
        ),
        migrations.CreateModel(
            name="ScheduledEntry",
            fields=[
                ("message_id", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("send_at", models.DateTimeField()),
                ("request_id", models.TextField(default="")),
            ],
            options={"db_table": "sms_scheduledentry", "managed": False},
        ),
    ]

import datetime as dt

from django.db import migrations, models

from smsgateway import partitions


def first_partitions(apps, schema_editor):
    yesterday = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=1)
    partitions.create(first=yesterday, days=2 + partitions.DAYS_AHEAD, tables=["sms_submittedpart"])


class Migration(migrations.Migration):
    dependencies = [("sms", "0005_scheduling")]

    operations = [
        migrations.RunSQL(
            """
            CREATE TABLE sms_submittedpart (
                submission_id uuid NOT NULL,
                part smallint NOT NULL,
                parts smallint NOT NULL,
                message_id uuid NOT NULL,
                operator text NOT NULL,
                operator_message_id text NOT NULL,
                status text NOT NULL DEFAULT '',
                PRIMARY KEY (submission_id, part)
            ) PARTITION BY RANGE (submission_id);
            CREATE INDEX sms_submittedpart_operator_id
                ON sms_submittedpart (operator, operator_message_id, submission_id);

            CREATE TABLE sms_waitingreceipt (
                id uuid PRIMARY KEY,
                operator text NOT NULL,
                operator_message_id text NOT NULL,
                status text NOT NULL,
                error text NOT NULL,
                at bigint NOT NULL,
                request_id text NOT NULL
            ) WITH (
                -- Most rows live for seconds, as the outbox's do.
                autovacuum_vacuum_scale_factor = 0,
                autovacuum_vacuum_threshold = 10000,
                autovacuum_analyze_scale_factor = 0,
                autovacuum_analyze_threshold = 10000
            );
            CREATE INDEX sms_waitingreceipt_operator_id ON sms_waitingreceipt (operator, operator_message_id, id);

            CREATE TABLE sms_receiptsweep (
                id smallint PRIMARY KEY CHECK (id = 1),
                position uuid NOT NULL
            );
            INSERT INTO sms_receiptsweep VALUES (1, '00000000-0000-0000-0000-000000000000');
            """,
            "DROP TABLE sms_submittedpart, sms_waitingreceipt, sms_receiptsweep",
        ),
        migrations.RunPython(first_partitions, migrations.RunPython.noop),
        migrations.CreateModel(
            name="SubmittedPart",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "submission_id", "part", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("submission_id", models.UUIDField()),
                ("part", models.SmallIntegerField(help_text="From 1.")),
                ("parts", models.SmallIntegerField()),
                ("message_id", models.UUIDField()),
                ("operator", models.TextField()),
                ("operator_message_id", models.TextField()),
                (
                    "status",
                    models.TextField(help_text="Its receipt's, kept where the message has several parts."),
                ),
            ],
            options={"db_table": "sms_submittedpart", "managed": False},
        ),
        migrations.CreateModel(
            name="WaitingReceipt",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("operator", models.TextField()),
                ("operator_message_id", models.TextField()),
                ("status", models.TextField()),
                ("error", models.TextField()),
                ("at", models.BigIntegerField(help_text="Milliseconds since 1970 UTC.")),
                ("request_id", models.TextField()),
            ],
            options={"db_table": "sms_waitingreceipt", "managed": False},
        ),
        migrations.CreateModel(
            name="ReceiptSweep",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("position", models.UUIDField()),
            ],
            options={"db_table": "sms_receiptsweep", "managed": False},
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.RunSQL(
            """
            CREATE TABLE partition_archive (
                partition text PRIMARY KEY,
                parent text NOT NULL,
                low uuid NOT NULL,
                high uuid NOT NULL,
                state text NOT NULL,
                number integer NOT NULL,
                sealed_at timestamptz NOT NULL,
                archived_at timestamptz,
                keep_until timestamptz,
                manifest jsonb NOT NULL DEFAULT '{}'
            );
            CREATE INDEX partition_archive_range ON partition_archive (parent, low);

            -- Of a partition that is about to be archived: what is counted stays what it was. Told as the lack of a
            -- partition is, since that it is about to be.
            CREATE FUNCTION partition_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'partition % is being archived', TG_TABLE_NAME USING ERRCODE = 'check_violation';
            END $$;
            """,
            "DROP FUNCTION partition_sealed; DROP TABLE partition_archive",
        ),
        migrations.CreateModel(
            name="ArchivedPartition",
            fields=[
                ("partition", models.TextField(primary_key=True, serialize=False)),
                ("parent", models.TextField()),
                ("low", models.UUIDField()),
                ("high", models.UUIDField()),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("sealed", "Sealed"),
                            ("verified", "Verified"),
                            ("archived", "Archived"),
                            ("restored", "Restored"),
                        ]
                    ),
                ),
                ("number", models.IntegerField()),
                ("sealed_at", models.DateTimeField()),
                ("archived_at", models.DateTimeField(null=True)),
                ("keep_until", models.DateTimeField(null=True)),
                ("manifest", models.JSONField(default=dict, help_text="Of its newest archive that is whole.")),
            ],
            options={"db_table": "partition_archive", "managed": False},
        ),
    ]

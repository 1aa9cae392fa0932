from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("balance", "0003_ledger_by_entry")]

    operations = [
        # What the entries of a ledger's partition come to, by account: it stands for them once they are archived. It is
        # written before the partition is detached, so it counts only while the partition is not there: whoever looks
        # counts each entry once, at any instant.
        migrations.RunSQL(
            """
            CREATE TABLE balance_closing (
                customer_id uuid NOT NULL,
                partition text NOT NULL,
                amount bigint NOT NULL,
                entries bigint NOT NULL CHECK (entries > 0),
                first_entry bigint NOT NULL,
                last_entry bigint NOT NULL,
                balance_after bigint NOT NULL,
                PRIMARY KEY (customer_id, partition)
            );
            CREATE INDEX balance_closing_partition ON balance_closing (partition);

            CREATE VIEW balance_opening AS
            SELECT customer_id, sum(amount)::bigint AS balance, sum(entries)::bigint AS entries
              FROM balance_closing AS closing
             WHERE NOT EXISTS (
                   SELECT FROM pg_catalog.pg_inherits AS attached
                    WHERE attached.inhrelid = to_regclass(closing.partition) AND NOT attached.inhdetachpending)
             GROUP BY customer_id;
            """,
            "DROP VIEW balance_opening; DROP TABLE balance_closing",
        ),
        migrations.CreateModel(
            name="Closing",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "partition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("customer_id", models.UUIDField()),
                ("partition", models.TextField(help_text="Of the ledger.")),
                ("amount", models.BigIntegerField(help_text="Sum of its entries.")),
                ("entries", models.BigIntegerField(help_text="How many it has.")),
                ("first_entry", models.BigIntegerField(help_text="Lowest number of them.")),
                ("last_entry", models.BigIntegerField(help_text="Highest number of them.")),
                ("balance_after", models.BigIntegerField(help_text="The closing balance: after its highest entry.")),
            ],
            options={"db_table": "balance_closing", "managed": False},
        ),
        migrations.CreateModel(
            name="Opening",
            fields=[
                ("customer_id", models.UUIDField(primary_key=True, serialize=False)),
                ("balance", models.BigIntegerField()),
                ("entries", models.BigIntegerField()),
            ],
            options={"db_table": "balance_opening", "managed": False},
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("balance", "0001_initial")]

    operations = [
        # Every charge updates an account in place: room on the page keeps the update out of the index.
        migrations.RunSQL(
            "ALTER TABLE balance_account SET (fillfactor = 50)", "ALTER TABLE balance_account RESET (fillfactor)"
        ),
        migrations.RunSQL(
            """
            CREATE TABLE balance_ledgerentry (
                id uuid NOT NULL,
                customer_id uuid NOT NULL,
                entry bigint NOT NULL,
                kind varchar(12) NOT NULL,
                amount bigint NOT NULL,
                balance_after bigint NOT NULL CHECK (balance_after >= 0),
                message_id uuid,
                reference varchar(200) NOT NULL DEFAULT '',
                PRIMARY KEY (id)
            ) PARTITION BY RANGE (id);
            CREATE INDEX balance_ledgerentry_customer ON balance_ledgerentry (customer_id, id);
            """,
            "DROP TABLE balance_ledgerentry",
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("balance", "0002_ledger_table")]

    operations = [
        # A customer's transactions are listed in the account's own order, which ids do not quite keep.
        migrations.RunSQL(
            """
            DROP INDEX balance_ledgerentry_customer;
            CREATE INDEX balance_ledgerentry_customer ON balance_ledgerentry (customer_id, entry);
            """,
            """
            DROP INDEX balance_ledgerentry_customer;
            CREATE INDEX balance_ledgerentry_customer ON balance_ledgerentry (customer_id, id);
            """,
        ),
    ]

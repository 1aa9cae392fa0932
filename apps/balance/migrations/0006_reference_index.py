from django.db import migrations

from smsgateway.partitions.indexing import Index, index_build


def build(apps, schema_editor):
    """A payment's reference is looked for before it is booked. Charges are not in this index: it is small."""
    index_build(
        Index(
            "balance_ledgerentry",
            "balance_ledgerentry_reference",
            ["customer_id", "reference"],
            where="kind IN ('topup', 'adjustment')",
        )
    )


class Migration(migrations.Migration):
    atomic = False  # sends go on meanwhile; interrupted, it is run again

    dependencies = [("balance", "0005_low_balance")]

    operations = [
        # Backwards it stays: the code of before writes with it as well.
        migrations.RunPython(build, migrations.RunPython.noop),
    ]

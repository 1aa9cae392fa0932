import django.db.models.deletion
from django.db import migrations, models

import smsgateway.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("customers", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                (
                    "id",
                    models.UUIDField(default=smsgateway.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("customer_id", models.UUIDField()),
                ("entry", models.BigIntegerField(help_text="Number within the account, from 1, without gaps.")),
                (
                    "kind",
                    models.CharField(
                        choices=[("topup", "Top Up"), ("charge", "Charge"), ("refund", "Refund")], max_length=12
                    ),
                ),
                ("amount", models.BigIntegerField(help_text="Signed, in minor units: charges are negative.")),
                ("balance_after", models.BigIntegerField()),
                ("message_id", models.UUIDField(null=True)),
                ("reference", models.CharField(default="", max_length=200)),
            ],
            options={
                "db_table": "balance_ledgerentry",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "customer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="account",
                        serialize=False,
                        to="customers.customer",
                    ),
                ),
                ("balance", models.BigIntegerField(default=0)),
                ("entries", models.BigIntegerField(default=0)),
                ("currency", models.CharField(max_length=3)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("balance__gte", 0)), name="account_balance_not_negative")
                ],
            },
        ),
    ]

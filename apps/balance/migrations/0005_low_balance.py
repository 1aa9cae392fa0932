import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("balance", "0004_closing"),
        ("customers", "0006_contacts_and_search"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="account",
            options={"permissions": [("topup_account", "Can top up"), ("adjust_account", "Can adjust a balance")]},
        ),
        migrations.CreateModel(
            name="LowBalance",
            fields=[
                (
                    "customer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="low_balance",
                        serialize=False,
                        to="customers.customer",
                    ),
                ),
                ("threshold", models.BigIntegerField(help_text="Minor units.")),
                ("told_at", models.DateTimeField(null=True)),
                (
                    "mail_at",
                    models.DateTimeField(help_text="When its e-mail is due, or the end of a lease.", null=True),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("threshold__gte", 1)), name="low_balance_threshold_positive"
                    )
                ],
            },
        ),
    ]

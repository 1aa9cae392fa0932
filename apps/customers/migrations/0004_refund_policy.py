import django.contrib.postgres.fields
from django.db import migrations, models

import apps.customers.models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0003_rate_limit"),
    ]

    operations = [
        migrations.AddField(
            model_name="customer",
            name="refund_on",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("failed", "Failed"),
                        ("rejected", "Rejected"),
                        ("expired", "Expired"),
                        ("undelivered", "Undelivered"),
                    ],
                    max_length=12,
                ),
                blank=True,
                default=apps.customers.models.every_failure,
                help_text="The failures that give a message's cost back. What is canceled is refunded in any case.",
                size=None,
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(("refund_on__contained_by", ["failed", "rejected", "expired", "undelivered"])),
                name="customer_refunds_known",
            ),
        ),
    ]

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0001_initial"),
        ("sms", "0003_idempotency"),
    ]

    operations = [
        migrations.CreateModel(
            name="Rate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "prefix",
                    models.CharField(
                        blank=True,
                        max_length=15,
                        validators=[
                            django.core.validators.RegexValidator(
                                "[0-9]*\\Z", "Digits of E.164 without the plus, as 98912; empty for all numbers."
                            )
                        ],
                    ),
                ),
                (
                    "price",
                    models.BigIntegerField(
                        help_text="Minor units a segment.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100000000000),
                        ],
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to="customers.customer"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("customer", "prefix"), name="one_rate_a_prefix", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price__gte", 0), ("price__lte", 100000000000)), name="rate_price_bounded"
                    ),
                ],
            },
        ),
    ]

import django.core.validators
from django.db import migrations, models

import smsgateway.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "id",
                    models.UUIDField(default=smsgateway.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("suspended", "Suspended")], default="active", max_length=16
                    ),
                ),
                (
                    "segments_per_second",
                    models.PositiveIntegerField(
                        default=100,
                        help_text="Pace: segments a second that workers hand to operators for this customer.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("segments_per_second__gte", 1)), name="customer_pace_positive"
                    )
                ],
            },
        ),
    ]

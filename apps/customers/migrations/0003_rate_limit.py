import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0002_api_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="customer",
            name="messages_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many messages it may hand in; empty: API_MESSAGES_PER_MINUTE.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
    ]

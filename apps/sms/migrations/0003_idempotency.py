import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sms", "0002_partitioned_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("customer_id", models.UUIDField()),
                ("key", models.TextField()),
                ("fingerprint", models.BinaryField(help_text="SHA-256 of path and body.")),
                ("body", models.TextField()),
                ("balance", models.BigIntegerField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
            ],
        ),
    ]

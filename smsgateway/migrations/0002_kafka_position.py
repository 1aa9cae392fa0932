from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("smsgateway", "0001_partition_archive")]

    operations = [
        migrations.CreateModel(
            name="KafkaPosition",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "topic", "partition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("topic", models.TextField()),
                ("partition", models.IntegerField()),
                ("position", models.BigIntegerField(help_text="The next offset.")),
                ("at", models.DateTimeField(help_text="When it was recorded.")),
            ],
            options={"db_table": "kafka_position", "default_permissions": ()},
        ),
    ]

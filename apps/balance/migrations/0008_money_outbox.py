from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("balance", "0007_booked_forms")]

    operations = [
        migrations.CreateModel(
            name="MoneyOutboxEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("payload", models.BinaryField(help_text="An event of the money topic, encoded.")),
            ],
            options={"default_permissions": ()},
        ),
    ]

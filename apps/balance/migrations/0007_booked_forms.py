from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("balance", "0006_reference_index")]

    operations = [
        migrations.CreateModel(
            name="BookedForm",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("entry_id", models.UUIDField(help_text="Of the ledger.")),
            ],
            options={"default_permissions": ()},
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("customers", "0006_contacts_and_search")]

    operations = [
        # Customers are few: the index is there in no time, and no send writes to their table.
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("messages_per_minute__isnull", False)),
                fields=["id"],
                name="customer_by_own_limit",
            ),
        ),
        migrations.CreateModel(
            name="CallbackHealth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "host",
                    models.TextField(blank=True, help_text="Scheme, host and port; empty: the customer's endpoint."),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(help_text="Calls that have failed since one got through."),
                ),
                ("failing_since", models.DateTimeField()),
                (
                    "pauses",
                    models.PositiveIntegerField(
                        default=0, help_text="How often it was paused since then; 0: it is not."
                    ),
                ),
                ("paused_until", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True)),
                (
                    "mail_at",
                    models.DateTimeField(
                        help_text="When the customer's e-mail is due, or the end of a lease.", null=True
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="callback_health",
                        to="customers.customer",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("customer", "host"), name="one_health_a_host")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("mail_at__isnull", False)), fields=["mail_at"], name="callback_health_mails"
                    )
                ],
            },
        ),
    ]

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0006_contacts_and_search"),
        ("sms", "0013_callback_hosts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="message", options={"managed": False, "permissions": [("cancel_message", "Can cancel a message")]}
        ),
        migrations.CreateModel(
            name="HeldMessage",
            fields=[
                ("message_id", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("rank", models.SmallIntegerField(help_text="0: otp, 1: normal, 2: bulk.")),
                (
                    "due_at",
                    models.DateTimeField(help_text="When it was accepted, or was to be sent: its place in order."),
                ),
                ("expires_at", models.DateTimeField()),
                ("copy", models.BigIntegerField(help_text="Which published `delivery` it is, in milliseconds.")),
                ("is_held", models.BooleanField(default=True)),
                ("held_at", models.DateTimeField()),
                ("attempts", models.SmallIntegerField(default=0)),
                ("delays", models.SmallIntegerField(default=0)),
                (
                    "refused",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(),
                        default=list,
                        help_text="Connections that refused it for good.",
                        size=None,
                    ),
                ),
                ("request_id", models.TextField(default="")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_held", True)),
                        fields=["customer_id", "rank", "due_at", "message_id"],
                        name="sms_heldmessage_customer",
                    ),
                    models.Index(
                        condition=models.Q(("is_held", True)), fields=["expires_at"], name="sms_heldmessage_expiry"
                    ),
                    models.Index(
                        condition=models.Q(("is_held", False)), fields=["copy"], name="sms_heldmessage_released"
                    ),
                ],
            },
        ),
        # As sms_routingversion: no model, for Django's flush would empty it; one row, counted up in the transaction that
        # changes a customer's status, and never going back.
        migrations.RunSQL(
            """
            CREATE TABLE sms_suspensionversion (
                id smallint PRIMARY KEY CHECK (id = 1),
                version bigint NOT NULL
            );
            INSERT INTO sms_suspensionversion VALUES (1, extract(epoch FROM clock_timestamp()) * 1000);

            CREATE FUNCTION sms_suspensions_changed() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE sms_suspensionversion
                   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
                RETURN NULL;
            END $$;
            CREATE TRIGGER sms_customer_status_changed AFTER UPDATE OF status ON customers_customer
                FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION sms_suspensions_changed();
            CREATE TRIGGER sms_customer_suspended_added AFTER INSERT ON customers_customer
                FOR EACH ROW WHEN (NEW.status <> 'active') EXECUTE FUNCTION sms_suspensions_changed();
            CREATE TRIGGER sms_customer_suspended_gone AFTER DELETE ON customers_customer
                FOR EACH ROW WHEN (OLD.status <> 'active') EXECUTE FUNCTION sms_suspensions_changed();
            """,
            """
            DROP TRIGGER sms_customer_suspended_gone ON customers_customer;
            DROP TRIGGER sms_customer_suspended_added ON customers_customer;
            DROP TRIGGER sms_customer_status_changed ON customers_customer;
            DROP FUNCTION sms_suspensions_changed;
            DROP TABLE sms_suspensionversion;
            """,
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sms", "0008_routes"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="callback",
            options={"permissions": [("replay_callback", "Can send a callback again")]},
        ),
        migrations.AddField(
            model_name="callback",
            name="data",
            field=models.JSONField(help_text="What is told, if it is not of a message.", null=True),
        ),
        migrations.AlterField(
            model_name="callback",
            name="event",
            field=models.TextField(help_text="The message's status, test or balance.low."),
        ),
        migrations.AlterField(
            model_name="callback",
            name="message_id",
            field=models.UUIDField(help_text="None for a test and a low balance.", null=True),
        ),
        migrations.AddIndex(
            model_name="callback",
            index=models.Index(condition=models.Q(("status", "failed")), fields=["id"], name="sms_callback_failed"),
        ),
        # Messages are looked up by number, and by reference whoever's it is; the second serves one customer's as before.
        migrations.RunSQL(
            """
            CREATE INDEX sms_message_recipient ON sms_message (recipient, id);
            DROP INDEX sms_message_reference;
            CREATE INDEX sms_message_reference ON sms_message (reference, customer_id, id) WHERE reference <> '';
            """,
            """
            DROP INDEX sms_message_recipient;
            DROP INDEX sms_message_reference;
            CREATE INDEX sms_message_reference ON sms_message (customer_id, reference, id) WHERE reference <> '';
            """,
        ),
    ]

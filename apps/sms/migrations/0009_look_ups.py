from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sms", "0008_routes"),
    ]

    # Its indexes are built by 0010, while sends go on. Databases that had them from here lack nothing.
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
    ]

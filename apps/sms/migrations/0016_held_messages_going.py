from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sms", "0015_send_at_index")]

    # A default of the database: rows are written by SQL that does not name the column.
    operations = [
        migrations.AddField(
            model_name="heldmessage",
            name="is_going",
            field=models.BooleanField(
                db_default=False, default=False, help_text="Kafka may have it already: it is not canceled any more."
            ),
        ),
        migrations.AddIndex(
            model_name="heldmessage",
            index=models.Index(
                condition=models.Q(("is_going", True)), fields=["message_id"], name="sms_heldmessage_going"
            ),
        ),
    ]

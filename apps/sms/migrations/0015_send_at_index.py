from django.db import migrations

from smsgateway.partitions.indexing import Index, index_build, index_build_on_one


def build(apps, schema_editor):
    """Reconciliation finds scheduled messages by their hour, in any partition; the console those of a customer."""
    index_build(Index("sms_message", "sms_message_send_at", ["send_at"], where="send_at IS NOT NULL"))
    index_build_on_one(Index("sms_scheduledentry", "sms_scheduledentry_customer", ["customer_id", "send_at"]))


class Migration(migrations.Migration):
    atomic = False  # sends go on meanwhile; interrupted, it is run again

    dependencies = [("sms", "0014_held_messages")]

    # Backwards the index stays: the code of before reads and writes with it as well.
    operations = [migrations.RunPython(build, migrations.RunPython.noop)]

from django.db import migrations

from apps.console.roles import ADMINISTRATOR, SUPPORT, permission_grant


def grant(apps, schema_editor):
    """Roles that were made before there was the permission get it too."""
    permission_grant(apps, "sms.message.cancel_message", roles=(SUPPORT, ADMINISTRATOR))


class Migration(migrations.Migration):
    dependencies = [("console", "0002_roles"), ("sms", "0014_held_messages")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

from django.db import migrations

from apps.console.roles import roles_make


def make(apps, schema_editor):
    roles_make(apps)


class Migration(migrations.Migration):
    dependencies = [
        ("console", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("balance", "0005_low_balance"),
        ("customers", "0006_contacts_and_search"),
        ("sms", "0009_look_ups"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]

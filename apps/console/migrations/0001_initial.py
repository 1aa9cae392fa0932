from django.db import migrations, models

import smsgateway.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Act",
            fields=[
                (
                    "id",
                    models.UUIDField(default=smsgateway.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("user_id", models.BigIntegerField()),
                ("user_name", models.CharField(max_length=150)),
                ("act", models.CharField(help_text="What was done, such as balance.topup.", max_length=40)),
                ("customer_id", models.UUIDField(help_text="The customer concerned, if one is.", null=True)),
                ("subject", models.CharField(help_text="What it was done to, in words.", max_length=200)),
                ("why", models.CharField(blank=True, help_text="The reason that was given.", max_length=500)),
                ("details", models.JSONField(default=dict)),
            ],
            options={
                "permissions": [
                    ("view_gateway", "Can view the start page, operators and what is stuck"),
                    ("view_deadletter", "Can view dead letters"),
                    ("replay_deadletter", "Can replay dead letters"),
                    ("import_rates", "Can import rates"),
                ],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["customer_id", "id"], name="console_act_customer"),
                    models.Index(fields=["user_name", "id"], name="console_act_user"),
                ],
            },
        ),
        migrations.RunSQL(
            """
            CREATE FUNCTION console_act_kept() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'what people did is kept as it was' USING ERRCODE = 'restrict_violation';
            END $$;
            CREATE TRIGGER console_act_kept BEFORE UPDATE OR DELETE ON console_act
                FOR EACH ROW EXECUTE FUNCTION console_act_kept();
            """,
            "DROP TRIGGER console_act_kept ON console_act; DROP FUNCTION console_act_kept",
        ),
    ]

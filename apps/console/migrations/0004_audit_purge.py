from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("console", "0003_cancel_message")]

    operations = [
        # Only `manage.py purge` deletes acts, if a setting says so, and none that is younger than 90 days: the age is
        # in the id, a ULID.
        migrations.RunSQL(
            """
            CREATE OR REPLACE FUNCTION console_act_kept() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_OP = 'DELETE' AND current_setting('smsgateway.audit_purge', true) = 'on'
                   AND ('x0000' || replace(left(OLD.id::text, 13), '-', ''))::bit(64)::bigint
                       < extract(epoch FROM now() - interval '90 days') * 1000 THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'what people did is kept as it was' USING ERRCODE = 'restrict_violation';
            END $$;
            """,
            """
            CREATE OR REPLACE FUNCTION console_act_kept() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'what people did is kept as it was' USING ERRCODE = 'restrict_violation';
            END $$;
            """,
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0005_callbacks"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="customer",
            options={"permissions": [("suspend_customer", "Can suspend a customer, and let it send again")]},
        ),
        migrations.AddField(
            model_name="customer",
            name="email",
            field=models.EmailField(
                blank=True,
                db_default="",
                default="",
                help_text="Who is written to, such as when the balance is low.",
                max_length=254,
            ),
        ),
        migrations.AddField(
            model_name="customer",
            name="phone",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Of whom we call, in E.164.", max_length=16
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="revoked_at",
            field=models.DateTimeField(help_text="It works until then: a rotated key for a while.", null=True),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(fields=["name", "id"], name="customer_by_name"),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("phone", ""), _negated=True), fields=["phone"], name="customer_by_phone"
            ),
        ),
        # A part of a name is found by the index where the database has pg_trgm and lets us use it; else each name is looked at.
        migrations.RunSQL(
            """
            DO $$ BEGIN
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
                CREATE INDEX customer_name_parts ON customers_customer USING gin (upper(name) gin_trgm_ops);
            EXCEPTION
                WHEN feature_not_supported OR undefined_file OR insufficient_privilege OR undefined_object THEN
                    RAISE NOTICE 'no pg_trgm: names are searched without an index';
            END $$;
            """,
            "DROP INDEX IF EXISTS customer_name_parts",
        ),
    ]

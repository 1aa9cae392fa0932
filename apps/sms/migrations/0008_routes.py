import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0005_callbacks"),
        ("sms", "0007_callbacks"),
    ]

    operations = [
        migrations.AlterField(
            model_name="rate",
            name="prefix",
            field=models.CharField(
                blank=True,
                max_length=15,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[0-9]*\\Z", "Digits of E.164 without the plus, as 98912; empty for all numbers."
                    )
                ],
            ),
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "rank",
                    models.PositiveSmallIntegerField(
                        default=100,
                        help_text="The lowest rank goes first; among equal ranks the more specific route.",
                        validators=[django.core.validators.MaxValueValidator(32767)],
                    ),
                ),
                (
                    "prefixes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=15,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "\\A[0-9]{1,15}\\Z", "Digits of E.164 without the plus, as 98912."
                                )
                            ],
                        ),
                        blank=True,
                        default=list,
                        help_text="The number begins with one of these; the longest that matches counts. Empty: any number.",
                        size=None,
                    ),
                ),
                (
                    "sender",
                    models.CharField(
                        blank=True,
                        help_text="Exactly this sender id. Empty: any.",
                        max_length=15,
                        verbose_name="sender id",
                    ),
                ),
                (
                    "carrier",
                    models.CharField(
                        blank=True, help_text="The number's prefix belongs to this operator. Empty: any.", max_length=50
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "customer",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: any customer.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="customers.customer",
                    ),
                ),
            ],
            options={
                "ordering": ["rank", "id"],
            },
        ),
        migrations.CreateModel(
            name="RouteTarget",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("operator", models.CharField(help_text="Name of an operator connection.", max_length=50)),
                (
                    "preference",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="The lowest is tried first, the next when it fails.",
                        validators=[django.core.validators.MaxValueValidator(32767)],
                    ),
                ),
                (
                    "weight",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="Share of the messages among targets of equal preference.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                    ),
                ),
                (
                    "route",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="targets", to="sms.route"
                    ),
                ),
            ],
            options={
                "ordering": ["preference", "-weight", "operator"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("route", "operator"),
                        name="route_target_once",
                        violation_error_message="A route has each connection once.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weight__gte", 1), ("weight__lte", 1000)), name="route_weight_bounded"
                    ),
                ],
            },
        ),
        # No model of Django's: its flush would empty the table. One row, counted up in the transaction that changes a
        # route. The version is the time besides, so that it never goes back, not even after a restore.
        migrations.RunSQL(
            """
            CREATE TABLE sms_routingversion (
                id smallint PRIMARY KEY CHECK (id = 1),
                version bigint NOT NULL
            );
            INSERT INTO sms_routingversion VALUES (1, extract(epoch FROM clock_timestamp()) * 1000);

            CREATE FUNCTION sms_routes_changed() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE sms_routingversion
                   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
                RETURN NULL;
            END $$;
            CREATE TRIGGER sms_route_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sms_route
                FOR EACH STATEMENT EXECUTE FUNCTION sms_routes_changed();
            CREATE TRIGGER sms_routetarget_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sms_routetarget
                FOR EACH STATEMENT EXECUTE FUNCTION sms_routes_changed();
            """,
            """
            DROP TRIGGER sms_routetarget_changed ON sms_routetarget;
            DROP TRIGGER sms_route_changed ON sms_route;
            DROP FUNCTION sms_routes_changed;
            DROP TABLE sms_routingversion;
            """,
        ),
    ]

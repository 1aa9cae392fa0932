"""A new prefix does not begin with 0, and a route's sender may be a number of 15 digits with its plus.

Rows with such a prefix stay: they match no number, and a migration must not change what messages cost or where they go.
"""

from __future__ import annotations

import django.contrib.postgres.fields
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sms", "0010_look_up_indexes")]

    operations = [
        migrations.AlterField(
            model_name="rate",
            name="prefix",
            field=models.CharField(
                blank=True,
                max_length=15,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([1-9][0-9]*)?\\Z", "Digits of E.164 without the plus, as 98912; empty for all numbers."
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="route",
            name="prefixes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=15,
                    validators=[
                        django.core.validators.RegexValidator(
                            "\\A[1-9][0-9]{0,14}\\Z", "Digits of E.164 without the plus, as 98912."
                        )
                    ],
                ),
                blank=True,
                default=list,
                help_text="The number begins with one of these; the longest that matches counts. Empty: any number.",
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="route",
            name="sender",
            field=models.CharField(
                blank=True, help_text="Exactly this sender id. Empty: any.", max_length=16, verbose_name="sender id"
            ),
        ),
    ]

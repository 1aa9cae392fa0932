"""The roles of people who use the admin: groups with permissions, made by a migration, edited like any group."""

from __future__ import annotations

from typing import Any, Final

SUPPORT: Final = "Support"
FINANCE: Final = "Finance"
ADMINISTRATOR: Final = "Administrator"

_READ: Final = (
    "customers.customer.view_customer",
    "customers.apikey.view_apikey",
    "balance.account.view_account",
    "balance.ledgerentry.view_ledgerentry",
    "sms.message.view_message",
    "sms.callback.view_callback",
    "sms.rate.view_rate",
    "sms.route.view_route",
    "sms.routetarget.view_routetarget",
    "console.act.view_gateway",
    "console.act.view_deadletter",
)
_REPLAY: Final = ("sms.callback.replay_callback", "console.act.replay_deadletter")
_MONEY: Final = (
    "balance.account.topup_account",
    "balance.account.adjust_account",
    "balance.lowbalance.change_lowbalance",
    "console.act.view_act",
)
_REST: Final = (
    "customers.customer.add_customer",
    "customers.customer.change_customer",
    "customers.customer.suspend_customer",
    "customers.apikey.add_apikey",
    "customers.apikey.change_apikey",
    *(
        f"sms.{model}.{verb}_{model}"
        for model in ("rate", "route", "routetarget")
        for verb in ("add", "change", "delete")
    ),
    "console.act.import_rates",
    *(f"auth.{model}.{verb}_{model}" for model in ("user", "group") for verb in ("view", "add", "change", "delete")),
)

# `app.model.permission` of each.
ROLES: Final[dict[str, tuple[str, ...]]] = {
    SUPPORT: (*_READ, *_REPLAY),
    FINANCE: (*_READ, *_MONEY),
    ADMINISTRATOR: (*_READ, *_REPLAY, *_MONEY, *_REST),
}


def roles_make(apps: Any) -> None:
    """Make the groups that are missing. `apps`: Django's registry, or a migration's.

    Permissions themselves are made after all migrations; those that are needed here are made now, and found then.
    """
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    type_model = apps.get_model("contenttypes", "ContentType")
    for name, wanted in ROLES.items():
        group, is_new = group_model.objects.get_or_create(name=name)
        if not is_new:
            continue
        for path in wanted:
            app, model, codename = path.split(".")
            kind, _ = type_model.objects.get_or_create(app_label=app, model=model)
            permission, _ = permission_model.objects.get_or_create(
                content_type=kind, codename=codename, defaults={"name": f"Can {codename.replace('_', ' ')}"}
            )
            group.permissions.add(permission)

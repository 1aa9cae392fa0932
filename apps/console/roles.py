"""The roles of the admin's users: groups with permissions, created by a migration and edited like any group."""

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
_REPLAY: Final = (
    "sms.callback.replay_callback",
    "sms.message.cancel_message",
    "console.act.replay_deadletter",
)
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


def permission_grant(apps: Any, path: str, *, roles: tuple[str, ...]) -> None:
    """Give a new permission to these roles; groups that were deleted are skipped."""
    for group in apps.get_model("auth", "Group").objects.filter(name__in=roles):
        group.permissions.add(_permission(apps, path))


def roles_make(apps: Any) -> None:
    """Create the groups that are missing. `apps`: Django's registry, or a migration's.

    Django creates permissions after all migrations. Those needed here are created now, and Django finds them later.
    """
    group_model = apps.get_model("auth", "Group")
    for name, wanted in ROLES.items():
        group, is_new = group_model.objects.get_or_create(name=name)
        if not is_new:
            continue
        for path in wanted:
            group.permissions.add(_permission(apps, path))


def _permission(apps: Any, path: str) -> Any:
    """The permission `app.model.codename`, created if missing."""
    app, model, codename = path.split(".")
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app, model=model)
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": f"Can {codename.replace('_', ' ')}"}
    )
    return permission

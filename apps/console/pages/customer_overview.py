"""The context of a customer's page: balance, limits, contact, and the newest entries of each list."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.http import HttpRequest

from apps.balance.models import Account, LowBalance
from apps.balance.selectors import ledger_list
from apps.console import cells
from apps.console.models import Act
from apps.console.pages.audit_log import act_table
from apps.console.tables import callback_table, ledger_table, message_table
from apps.customers.models import ApiKey, CallbackEndpoint, CallbackHealth, Customer
from apps.sms.messages.selectors import messages_find
from apps.sms.models import Callback
from apps.sms.settlement.cancel import waiting_count
from smsgateway import ids, money
from smsgateway.http.paging import Page

_NEWEST: Final = 8
_DAYS: Final = 7


def customer_overview(customer: Customer, request: HttpRequest) -> dict[str, Any]:
    """The context of the page. Lists have the newest few entries of the last _DAYS days."""
    account: Account | None = getattr(customer, "account", None)
    currency = account.currency if account else ""
    now = dt.datetime.now(tz=dt.UTC)
    recent = Page(now - dt.timedelta(days=_DAYS), now + dt.timedelta(minutes=5), _NEWEST, None)
    low = LowBalance.objects.filter(customer_id=customer.pk).first()
    keys = list(ApiKey.objects.filter(customer_id=customer.pk, revoked_at=None).order_by("id"))
    paused = CallbackHealth.objects.filter(customer_id=customer.pk, paused_until__isnull=False)
    user: Any = request.user
    context: dict[str, Any] = {
        "ulid": ids.to_text(customer.pk),
        "balance": money.formatted(account.balance, currency) if account else "–",
        "currency": currency,
        "state": cells.label(customer.status),
        "low": low,
        "low_threshold": money.with_currency(low.threshold, currency) if low else "",
        "is_low": bool(low and account and account.balance < low.threshold),
        "keys": keys,
        "endpoint": CallbackEndpoint.objects.filter(customer_id=customer.pk).first(),
        "callbacks_paused": paused.filter(host="").first(),
        "hosts_paused": list(paused.exclude(host="").order_by("failing_since")[:_NEWEST]),
        "may": {
            "top_up": user.has_perm("balance.topup_account"),
            "adjust": user.has_perm("balance.adjust_account"),
            "change": user.has_perm("customers.change_customer"),
            "suspend": user.has_perm("customers.suspend_customer"),
            "keys": user.has_perm("customers.view_apikey"),
            "threshold": user.has_perm("balance.change_lowbalance"),
        },
    }
    if user.has_perm("sms.view_message"):
        context["waiting"] = waiting_count(customer_id=customer.pk)
    if user.has_perm("balance.view_ledgerentry"):
        entries = list(ledger_list(customer_id=customer.pk, page=recent))[:_NEWEST]
        context["ledger"] = ledger_table(entries, currency)
    if user.has_perm("sms.view_message"):
        context["messages_table"] = message_table(
            messages_find(page=recent, customer_id=customer.pk, limit=_NEWEST), currency=currency
        )
    if user.has_perm("sms.view_callback"):
        context["callbacks"] = callback_table(
            Callback.objects.filter(customer_id=customer.pk, id__gte=ids.lowest_id(recent.since)).order_by("-id")[:4]
        )
    if user.has_perm("console.view_act"):
        context["acts"] = act_table(Act.objects.filter(customer_id=customer.pk).order_by("-id")[:5])
    return context

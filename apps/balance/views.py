"""HTTP views of balances and ledgers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.response import Response

from apps.balance import openapi
from apps.balance.models import LedgerEntry
from apps.balance.selectors import account_get, ledger_list
from apps.customers.authentication import CustomerView
from smsgateway import ids
from smsgateway.http import paging, query
from smsgateway.postgres.plans import own_plans


class BalanceView(CustomerView):
    """`GET /v1/customers/{id}/balance`"""

    @openapi.BALANCE
    def get(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        account = account_get(customer_id=customer_id)
        return Response(
            {
                "customer_id": ids.to_text(customer_id),
                "balance": account.balance,
                "currency": account.currency,
            }
        )


class TransactionsView(CustomerView):
    """`GET /v1/customers/{id}/transactions`: the ledger, the newest entry first."""

    @openapi.TRANSACTIONS
    def get(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        asked = query.Query(request.GET, known=("kind", *paging.PARAMETERS))
        kind = asked.read("kind", query.one_of(LedgerEntry.Kind.values))
        page = paging.read_page(asked)
        asked.check()
        account_get(customer_id=customer_id)
        with own_plans():
            found = list(ledger_list(customer_id=customer_id, page=page, kind=kind))
        more = len(found) > page.limit
        return Response(
            {
                "transactions": [_transaction(entry) for entry in found[: page.limit]],
                "next_cursor": paging.cursor(found[page.limit - 1].entry) if more else None,
            }
        )


def _transaction(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": ids.to_text(entry.id),
        "entry": entry.entry,
        "at": ids.moment(entry.id),
        "kind": entry.kind,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "message_id": entry.message_id and ids.to_text(entry.message_id),
        "reference": entry.reference,
    }

"""Send, batch and estimate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.response import Response

from apps.balance.selectors import account_get
from apps.customers.allowance import Allowance
from apps.customers.authentication import CustomerView
from apps.customers.errors import MoreThanLimit, RateLimited
from apps.customers.rate_limit import messages_give_back, messages_take, refuse_exhausted
from apps.sms.accept import responses
from apps.sms.accept.drafts import Draft, Drafter
from apps.sms.accept.idempotency import Claim, claim_of, record_find
from apps.sms.accept.requests import SendRequest, customer_id, decode, decode_batch
from apps.sms.accept.service import Accepted, messages_accept, messages_replay
from apps.sms.errors import RequestInProgress
from apps.sms.pricing import rates
from apps.sms.routing.database import first_choices
from apps.sms.views.openapi import messages as openapi
from smsgateway import json, tracing
from smsgateway.errors import GatewayError, InvalidRequest
from smsgateway.http.field_errors import FIX_FIELDS, FieldError, fault
from smsgateway.http.views import MOST_OF_ONE, json_body, json_response, request_id_of
from smsgateway.metrics import SMS_REFUSED


class AcceptView(CustomerView):
    """Accepts messages: once for each Idempotency-Key, within the customer's rate limit. Counts refused requests."""

    allowance: Allowance | None = None

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Also refuses a customer with nothing left before its request is read, unless it may be a repetition."""
        super().initial(request, *args, **kwargs)
        if self.speaks_for is None:
            return
        try:
            refuse_exhausted(customer_id=self.speaks_for)
        except RateLimited:
            if not self.may_repeat(request, self.speaks_for):
                raise

    def may_repeat(self, request: HttpRequest, _payer: UUID) -> bool:
        """True if the request may have been done before."""
        return "HTTP_IDEMPOTENCY_KEY" in request.META

    def accept(
        self,
        request: HttpRequest,
        *,
        payer: UUID,
        drafts: Sequence[Draft],
        claim: Claim | None,
        make_body: Callable[[Sequence[UUID]], str],
        partial: bool = False,
        field: str = "",
    ) -> HttpResponse:
        """Take the messages from the customer's allowance, charge them, and respond.

        A request that was done before takes nothing from the allowance, and gets its response even if nothing is left.
        `make_body`: makes the response, without its balance, from the messages' ids. `field`: the field of the request
        that has the messages.
        """
        try:
            self.allowance = messages_take(customer_id=payer, messages=len(drafts))
        except (RateLimited, MoreThanLimit) as refused:
            replayed = messages_replay(customer_id=payer, claim=claim)
            if replayed is None:
                raise _rate_error(refused, field) from None
            self.allowance = refused.allowance if isinstance(refused, RateLimited) else None
            return self.respond(replayed, make_body)
        try:
            accepted = messages_accept(
                customer_id=payer,
                drafts=drafts,
                config=settings.CONFIG,
                request_id=request_id_of(request),
                claim=claim,
                make_body=make_body,
                partial=partial,
            )
        except RequestInProgress:
            self._give_back(payer, len(drafts))
            raise
        if accepted.replayed is not None:
            self._give_back(payer, len(drafts))
        if tracing.is_on:
            request.accepted_ids = accepted.message_ids  # type: ignore[attr-defined]  # for the request's span
        return self.respond(accepted, make_body)

    def _give_back(self, payer: UUID, count: int) -> None:
        if self.allowance is not None:
            self.allowance = messages_give_back(customer_id=payer, messages=count, allowance=self.allowance)

    def respond(self, accepted: Accepted, make_body: Callable[[Sequence[UUID]], str]) -> HttpResponse:
        """The response, or the first one again."""
        body = make_body(accepted.message_ids) if accepted.replayed is None else accepted.replayed
        response = json_response(responses.complete(body, accepted))
        for name, value in self.allowance.headers().items() if self.allowance else ():
            response[name] = value
        if accepted.replayed is not None:
            response["Idempotent-Replayed"] = "true"
        return response

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, GatewayError):
            SMS_REFUSED.labels(exc.code).inc()
        return super().handle_exception(exc)


class SendView(AcceptView):
    """`POST /v1/sms/send`: charge and accept one message."""

    on_loop = frozenset(("POST",))

    @openapi.SEND
    def post(self, request: HttpRequest) -> HttpResponse:
        body = json_body(request, most=MOST_OF_ONE)
        wanted = decode(body, SendRequest, config=settings.CONFIG.sms)
        payer, payer_errors = customer_id(wanted.customer_id)
        draft = _drafter(payer).draft(wanted, wanted.to)
        if payer is None:
            raise InvalidRequest(FIX_FIELDS, errors=payer_errors + (draft if isinstance(draft, list) else []))
        self.require(payer)
        claim = _claim(request, body)
        if isinstance(draft, list):
            # A repeated request may be invalid by now, such as a time that has passed. Its first response stands.
            replayed = messages_replay(customer_id=payer, claim=claim)
            if replayed is None:
                raise InvalidRequest(FIX_FIELDS, errors=draft)
            return self.respond(replayed, _no_body)
        return self.accept(
            request,
            payer=payer,
            drafts=[draft],
            claim=claim,
            make_body=lambda message_ids: responses.send_body(message_ids[0], draft),
        )


class BatchView(AcceptView):
    """`POST /v1/sms/batch`: charge and accept the valid messages of a list in one transaction."""

    def may_repeat(self, request: HttpRequest, payer: UUID) -> bool:
        """Asks the database, which costs less than reading a batch."""
        claim = _claim(request, b"")
        return claim is not None and record_find(customer_id=payer, key=claim.key) is not None

    @openapi.BATCH
    def post(self, request: HttpRequest) -> HttpResponse:
        body = json_body(request)
        batch = decode_batch(body, config=settings.CONFIG.sms)
        self.require(batch.payer)
        drafted = _drafter(batch.payer).drafts(batch.items)
        drafts = [item for item in drafted if not isinstance(item, list)]
        claim = _claim(request, body)
        if len(drafts) < len(drafted):
            SMS_REFUSED.labels(InvalidRequest.code).inc(len(drafted) - len(drafts))

        def make_body(message_ids: Sequence[UUID]) -> str:
            return responses.batch_body(message_ids, drafted, longest=responses.longest_of(body))

        if not drafts:
            replayed = messages_replay(customer_id=batch.payer, claim=claim)
            nothing = Accepted([], account_get(customer_id=batch.payer).balance)
            return self.respond(replayed or nothing, make_body)
        return self.accept(
            request,
            payer=batch.payer,
            drafts=drafts,
            claim=claim,
            make_body=make_body,
            partial=batch.partial,
            field=batch.field,
        )


class EstimateView(CustomerView):
    """`POST /v1/sms/estimate`: what a batch would cost, and the operators it would go to. Charges nothing."""

    @openapi.ESTIMATE
    def post(self, request: HttpRequest) -> HttpResponse:
        config = settings.CONFIG
        body = json_body(request)
        batch = decode_batch(body, config=config.sms)
        self.require(batch.payer)
        account = account_get(customer_id=batch.payer)
        first_choice = first_choices(customer_id=batch.payer, config=config)
        items: list[dict[str, Any] | list[FieldError]] = []
        cost = 0
        for item in _drafter(batch.payer).drafts(batch.items):
            if isinstance(item, list):
                items.append(item)
                continue
            cost += item.cost
            items.append(
                {
                    "status": "valid",
                    "to": item.recipient,
                    "encoding": item.encoding,
                    "segments": item.segments,
                    "cost": item.cost,
                    "operator": first_choice(item.sender, item.recipient, None),
                }
            )
        results = responses.results(items, longest=responses.longest_of(body))
        return json_response(
            json.encode({"cost": cost, "currency": account.currency, "balance": account.balance, **results})
        )


def _rate_error(refused: RateLimited | MoreThanLimit, field: str) -> GatewayError:
    if isinstance(refused, RateLimited):
        return refused
    reason = (
        f"This customer may send {refused.limit} messages a minute, so a batch has at most {refused.limit};"
        f" this one has {refused.messages}."
    )
    return InvalidRequest(FIX_FIELDS, errors=[fault(field, "invalid_length", reason)])


def _drafter(payer: UUID | None) -> Drafter:
    config = settings.CONFIG.sms
    return Drafter(config=config, price=rates.prices(customer_id=payer, config=config), now=dt.datetime.now(tz=dt.UTC))


def _claim(request: HttpRequest, body: bytes) -> Claim | None:
    return claim_of(header=request.META.get("HTTP_IDEMPOTENCY_KEY"), path=request.path, body=body)


def _no_body(_message_ids: Sequence[UUID]) -> str:
    raise AssertionError("a replay has its own body")

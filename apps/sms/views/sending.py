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
from apps.customers.rate_limit import messages_give_back, messages_take
from apps.sms.accept import idempotency
from apps.sms.accept import responses as answers
from apps.sms.accept.drafts import Draft, Drafter
from apps.sms.accept.requests import SendRequest, customer_id, decode, decode_batch
from apps.sms.accept.service import Accepted, messages_accept
from apps.sms.errors import RequestInProgress
from apps.sms.pricing import rates
from apps.sms.routing import database as routing
from apps.sms.views.openapi import messages as openapi
from smsgateway import json, tracing
from smsgateway.errors import GatewayError, InvalidRequest
from smsgateway.http.field_errors import MEND, fault
from smsgateway.http.views import json_body, json_response, request_id_of
from smsgateway.metrics import SMS_REFUSED


class AcceptView(CustomerView):
    """Does a request once if it carries an Idempotency-Key, holds the customer's rate, and counts what is refused."""

    allowance: Allowance | None = None

    def accept(
        self,
        request: HttpRequest,
        *,
        payer: UUID,
        drafts: Sequence[Draft],
        claim: idempotency.Claim | None,
        answer: Callable[[Sequence[UUID]], str],
        partial: bool = False,
        field: str = "",
    ) -> HttpResponse:
        """Take the messages from the customer's allowance, charge them, answer. `field`: which one they stand in.

        A request that was done before takes nothing from the allowance, and gets its answer though nothing is left.
        """
        try:
            self.allowance = messages_take(customer_id=payer, messages=len(drafts))
        except (RateLimited, MoreThanLimit) as refused:
            replayed = claim and claim.replay(customer_id=payer)
            if replayed is None:
                raise _too_many(refused, field) from None
            self.allowance = refused.allowance if isinstance(refused, RateLimited) else None
            return self.answered(replayed, answer)
        try:
            accepted = messages_accept(
                customer_id=payer,
                drafts=drafts,
                config=settings.CONFIG,
                request_id=request_id_of(request),
                once=claim and claim.once(answer),
                partial=partial,
            )
        except RequestInProgress:
            self._give_back(payer, len(drafts))
            raise
        if accepted.replayed is not None:
            self._give_back(payer, len(drafts))
        if tracing.is_on:
            request.accepted_ids = accepted.message_ids  # type: ignore[attr-defined]  # for the request's span
        return self.answered(accepted, answer)

    def _give_back(self, payer: UUID, count: int) -> None:
        if self.allowance is not None:
            self.allowance = messages_give_back(customer_id=payer, messages=count, allowance=self.allowance)

    def answered(self, accepted: Accepted, answer: Callable[[Sequence[UUID]], str]) -> HttpResponse:
        """The answer, or the first one again."""
        body = answer(accepted.message_ids) if accepted.replayed is None else accepted.replayed
        response = json_response(answers.complete(body, accepted))
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

    @openapi.SEND
    def post(self, request: HttpRequest) -> HttpResponse:
        body = json_body(request)
        wanted = decode(body, SendRequest, config=settings.CONFIG.sms)
        payer, payer_errors = customer_id(wanted.customer_id)
        draft = _drafter(payer).draft(wanted, wanted.to)
        if payer is None:
            raise InvalidRequest(MEND, errors=payer_errors + (draft if isinstance(draft, list) else []))
        self.require(payer)
        claim = _claim(request, body)
        if isinstance(draft, list):
            # What was right once may be wrong by now, such as a time that has passed: the first answer stands.
            replayed = claim and claim.replay(customer_id=payer)
            if replayed is None:
                raise InvalidRequest(MEND, errors=draft)
            return self.answered(replayed, _no_answer)
        return self.accept(
            request,
            payer=payer,
            drafts=[draft],
            claim=claim,
            answer=lambda message_ids: answers.of_send(message_ids[0], draft),
        )


class BatchView(AcceptView):
    """`POST /v1/sms/batch`: charge and accept the valid messages of a list in one transaction."""

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

        def answer(message_ids: Sequence[UUID]) -> str:
            return answers.of_batch(message_ids, drafted)

        if not drafts:
            replayed = claim and claim.replay(customer_id=batch.payer)
            nothing = Accepted([], account_get(customer_id=batch.payer).balance)
            return self.answered(replayed or nothing, answer)
        return self.accept(
            request,
            payer=batch.payer,
            drafts=drafts,
            claim=claim,
            answer=answer,
            partial=batch.partial,
            field=batch.field,
        )


class EstimateView(CustomerView):
    """`POST /v1/sms/estimate`: what a batch would cost, and which way it would go; nothing is charged."""

    @openapi.ESTIMATE
    def post(self, request: HttpRequest) -> HttpResponse:
        config = settings.CONFIG
        batch = decode_batch(json_body(request), config=config.sms)
        self.require(batch.payer)
        account = account_get(customer_id=batch.payer)
        first_choice = routing.first_choices(customer_id=batch.payer, config=config)
        results: list[dict[str, Any]] = []
        cost = 0
        for index, item in enumerate(_drafter(batch.payer).drafts(batch.items)):
            if isinstance(item, list):
                results.append({"index": index, "status": "refused", "errors": item})
                continue
            cost += item.cost
            results.append(
                {
                    "index": index,
                    "status": "valid",
                    "to": item.recipient,
                    "encoding": item.encoding,
                    "segments": item.segments,
                    "cost": item.cost,
                    "operator": first_choice(item.sender, item.recipient, None),
                }
            )
        told = {"cost": cost, "currency": account.currency, "balance": account.balance, "results": results}
        return json_response(json.encode(told))


def _too_many(refused: RateLimited | MoreThanLimit, field: str) -> GatewayError:
    if isinstance(refused, RateLimited):
        return refused
    reason = (
        f"This customer may send {refused.limit} messages a minute, so a batch has {refused.limit} at most;"
        f" this one has {refused.messages}."
    )
    return InvalidRequest(MEND, errors=[fault(field, "invalid_length", reason)])


def _drafter(payer: UUID | None) -> Drafter:
    config = settings.CONFIG.sms
    return Drafter(config=config, price=rates.prices(customer_id=payer, config=config), now=dt.datetime.now(tz=dt.UTC))


def _claim(request: HttpRequest, body: bytes) -> idempotency.Claim | None:
    return idempotency.claim(header=request.META.get("HTTP_IDEMPOTENCY_KEY"), path=request.path, body=body)


def _no_answer(_message_ids: Sequence[UUID]) -> str:
    raise AssertionError("a replay brings its own body")

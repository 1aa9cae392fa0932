"""Sends the messages to the API, several requests at a time over keep-alive connections."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import aiohttp

from apps.devservices.demo.rows import Request

SENDERS: Final = 8
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


class UnexpectedAnswer(Exception):
    """The API gave a wrong answer, or none"""


@dataclasses.dataclass(slots=True)
class Answers:
    """The API's answers to one customer. `message_ids`: ULIDs; `spent`: minor units; `refused`: counts by code."""

    message_ids: list[str] = dataclasses.field(default_factory=list)
    spent: int = 0
    refused: Counter[str] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(slots=True)
class Sent:
    """All answers, by customer. `accepted_at`: the Unix time of each accepted message."""

    answers: dict[str, Answers]
    accepted_at: list[float] = dataclasses.field(default_factory=list)


def send_all(
    requests: Iterable[Request], *, api_url: str, customer_ids: Mapping[str, str], on_answer: Callable[[int], None]
) -> Sent:
    """Send every request once. `on_answer` gets the number of messages in each answer. Raises UnexpectedAnswer."""
    sent = Sent({customer: Answers() for customer in customer_ids})

    async def sender(session: aiohttp.ClientSession, queue: Iterator[Request]) -> None:
        for request in queue:
            await _send(session, request, customer_ids[request.customer], sent)
            on_answer(len(request.rows))

    async def send() -> None:
        queue = iter(requests)
        connector = aiohttp.TCPConnector(limit=SENDERS)
        async with (
            aiohttp.ClientSession(api_url, connector=connector, timeout=_TIMEOUT) as session,
            asyncio.TaskGroup() as senders,
        ):
            for _ in range(SENDERS):
                senders.create_task(sender(session, queue))

    try:
        asyncio.run(send())
    except* UnexpectedAnswer as errors:
        raise errors.exceptions[0] from None
    return sent


async def _send(session: aiohttp.ClientSession, request: Request, customer_id: str, sent: Sent) -> None:
    messages = [row.fields() for row in request.rows]
    path = "/v1/sms/batch" if request.is_batch else "/v1/sms/send"
    body = {"messages": messages} if request.is_batch else messages[0]
    try:
        async with session.post(path, json={"customer_id": customer_id, **body}) as response:
            status, text = response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnexpectedAnswer(f"POST {path}: {error or 'no answer in time'}.") from None
    answers = sent.answers[request.customer]
    match status:
        case 200:
            document = json.loads(text)
            for result in document["results"] if request.is_batch else [document]:
                _count(result, answers, sent)
        case 400 | 402:
            answers.refused[_reason(json.loads(text))] += len(messages)
        case _:
            raise UnexpectedAnswer(f"POST {path} answered {status}: {text[:300]}")


def _count(result: dict[str, Any], answers: Answers, sent: Sent) -> None:
    """Count one message's result."""
    if result["status"] == "accepted":
        answers.message_ids.append(result["id"])
        answers.spent += result["cost"]
        sent.accepted_at.append(time.time())
    else:
        answers.refused[_reason(result)] += 1


def _reason(refusal: dict[str, Any]) -> str:
    """The code of the first wrong field, or else of the problem."""
    errors = refusal.get("errors")
    return str(errors[0]["code"] if errors else refusal["code"])

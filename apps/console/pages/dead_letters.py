"""Dead letters: events that no process could handle. They are shown here, and replayed once their cause is fixed."""

from __future__ import annotations

import re
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.html import format_html

from apps.console import cells
from apps.console.access import console_page, page
from apps.console.audit import act_note
from apps.sms import events
from apps.sms.operators.preview import receipt_preview
from apps.sms.operators.unread_receipts import setting_of
from apps.sms.recovery.dead_letters import Letter, NotReplayable, letters_newest, letters_replay
from smsgateway import ids
from smsgateway.kafka import client as kafka

_PARTITION_OFFSET: Final = re.compile(r"[0-9]{1,6}:[0-9]{1,18}")
_NEWEST: Final = 200
_SECONDS: Final = 1.5


def _letters() -> list[Letter]:
    return letters_newest(settings.CONFIG.kafka, count=_NEWEST, seconds=_SECONDS)


@console_page("console.view_deadletter")
def letters_page(request: HttpRequest) -> HttpResponse:
    """The newest dead letters."""
    try:
        letters, error = _letters(), ""
    except kafka.KafkaUnavailable as unavailable:
        letters, error = [], str(unavailable)
    rows = [
        [
            cells.moment(ids.moment_of(letter.at)),
            cells.link("dead-letter", letter.place, letter.place),
            letter.source or cells.NOTHING,
            letter.reason[:200],
            cells.label("replayed" if letter.is_replayed else "came back" if letter.came_back else "waiting"),
        ]
        for letter in reversed(letters)
    ]
    return page(
        request,
        "console/list.html",
        title="Dead letters",
        table={"headers": ["at", "dead letter", "from", "reason", "state"], "rows": rows},
        empty="No dead letters." if not error else "",
        error=f"Kafka does not answer: {error}" if error else "",
        note=f"The newest {_NEWEST} of each partition." if len(rows) >= _NEWEST else "",
    )


@console_page("console.view_deadletter")
def letter_page(request: HttpRequest, place: str) -> HttpResponse:
    """One dead letter: its reason, its headers and the event."""
    letter = _letter_or_404(place)
    user: Any = request.user
    headers = [
        (name, value.decode(errors="replace") if isinstance(value, bytes) else value or "")
        for name, value in letter.headers
    ]
    facts = [
        ("at", cells.moment(ids.moment_of(letter.at))),
        ("reason", letter.reason),
        ("from", letter.source or cells.NOTHING),
        *_receipt_facts(letter),
        ("key", cells.code(letter.key.decode(errors="replace"))),
        *((name, cells.code(value)) for name, value in headers if name != "reason"),
        ("event", format_html('<pre class="c-pre">{}</pre>', letter.value.decode(errors="replace")[:20_000])),
    ]
    may = letter.source_topic and not letter.is_replayed and user.has_perm("console.replay_deadletter")
    return page(
        request,
        "console/callback.html",
        title=f"Dead letter {place}",
        ulid="replayed" if letter.is_replayed else "",
        facts=facts,
        replay_url=cells.url("dead-letter-replay", place) if may else "",
        replay_text=f"Replay to {letter.source_topic}",
    )


def _receipt_facts(letter: Letter) -> list[tuple[str, Any]]:
    """What an unreadable receipt has in it, and the settings that would read it, by the operator's settings of now."""
    if not events.is_unread_receipt(letter.value):
        return []
    unread = events.decode_unread(letter.value)
    config = settings.CONFIG
    operator = (config.smpp_operators | config.http_operators).get(unread.operator)
    facts: list[tuple[str, Any]] = [("operator", unread.operator), ("octets", cells.code(unread.octets.hex()[:4000]))]
    if unread.query:
        facts.append(("query", cells.code(unread.query)))
    if operator is None:
        return facts
    for reading in receipt_preview(operator, unread.octets, content_type=unread.content_type, query=unread.query):
        facts += [(name, cells.code(value)) for name, value in reading.facts]
        facts.append(("read now", reading.reason or "yes: replay it"))
        if reading.hint:
            facts.append(("set", cells.code(setting_of(unread.operator, reading.hint))))
    return facts


@console_page("console.view_deadletter", "console.replay_deadletter")
def letter_replay_page(request: HttpRequest, place: str) -> HttpResponse:
    """Put the event back into the topic it came from. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    letter = _letter_or_404(place)
    config = settings.CONFIG.kafka
    if letter.is_replayed:
        messages.warning(request, "This dead letter was replayed before. Nothing was done.")
        return HttpResponseRedirect(cells.url("dead-letter", place))
    try:
        with transaction.atomic():
            act_note(request=request, act="letter.replay", subject=f"{place} from {letter.source}: {letter.reason}")
            letters_replay([letter], producer=kafka.producer(config, client_id="smsgateway-console"), config=config)
    except (NotReplayable, kafka.KafkaUnavailable) as error:
        messages.error(request, f"Not replayed: {error}")
    else:
        messages.success(request, f"Replayed to {letter.source_topic}.")
    return HttpResponseRedirect(cells.url("dead-letter", place))


def _letter_or_404(place: str) -> Letter:
    if not _PARTITION_OFFSET.fullmatch(place):
        raise Http404("A dead letter is named PARTITION:OFFSET.")
    try:
        for letter in _letters():
            if letter.place == place:
                return letter
    except kafka.KafkaUnavailable as error:
        raise Http404(f"Kafka does not answer: {error}") from None
    raise Http404("This dead letter is not among the newest.")

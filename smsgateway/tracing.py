"""Traces by OpenTelemetry, if TRACING_ENDPOINT is set. Otherwise checking `is_on` is the only cost.

A message's trace id is its own id: 128 bits, of which more than half are random, as OpenTelemetry requires. The id of
its first span is derived from it. So every process knows a message's trace from the message alone, and outbox and Kafka
carry no column, header or sampling flag. All processes make the same choice whether a message is traced
(TRACING_RATIO). The messages of a batch have consecutive ids, so all of them are traced or none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from smsgateway import ids
from smsgateway.config.operations import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_RANDOM_BITS: Final = 2**64 - 1

is_on = False
"""Whether spans are sent. Set by `start`; check it before you gather a span's attributes."""

_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_ratio = 0.0
# The trace id and the span id of the next span without a parent.
_next_ids: ContextVar[tuple[int, int]] = ContextVar("next_ids")


class TracingUnavailable(Exception):
    """TRACING_ENDPOINT is set, but OpenTelemetry's SDK is not installed: pip install -r requirements-tracing.txt"""


def start(process: str, config: Tracing) -> None:
    """Begin to send spans if TRACING_ENDPOINT is set. Call it in each process, after any fork.

    Raises TracingUnavailable.
    """
    global is_on, _provider, _tracer, _ratio
    if not config.endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError:
        raise TracingUnavailable(TracingUnavailable.__doc__) from None

    class GivenIds(RandomIdGenerator):
        """Uses the ids set for the next span, else random ones."""

        def generate_trace_id(self) -> int:
            given = _next_ids.get(None)
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = _next_ids.get(None)
            return given[1] if given else super().generate_span_id()

    _provider = TracerProvider(
        resource=Resource.create({"service.name": f"smsgateway-{process}"}),
        sampler=ALWAYS_ON,  # messages that are not traced get no spans in the first place
        id_generator=GivenIds(),
    )
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=config.endpoint)))
    _tracer = _provider.get_tracer("smsgateway")
    _ratio = config.ratio
    is_on = True


def stop() -> None:
    """Send the remaining spans, at the end of the process."""
    global is_on
    is_on = False
    if _provider is not None:
        _provider.shutdown()


def first_span(name: str, message_ids: Iterable[UUID], *, since: int, attributes: Mapping[str, Any]) -> None:
    """Record the first span of each message's trace, from `since` (nanoseconds, Unix) until now."""
    from opentelemetry.context import Context

    for message_id in message_ids:
        trace = _trace(message_id)
        if trace is not None:
            token = _next_ids.set((trace, _first(trace)))
            try:
                _record(name, Context(), since, attributes)
            finally:
                _next_ids.reset(token)


def span(name: str, message_ids: Iterable[UUID | str], *, since: int, attributes: Mapping[str, Any]) -> None:
    """Record a span of each message, below its first span, from `since` (nanoseconds, Unix) until now."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    for message_id in message_ids:
        trace = _trace(message_id)
        if trace is not None:
            first = SpanContext(trace, _first(trace), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            _record(name, set_span_in_context(NonRecordingSpan(first)), since, attributes)


def _record(name: str, context: Any, since: int, attributes: Mapping[str, Any]) -> None:
    if _tracer is not None:
        started = _tracer.start_span(name, context=context, start_time=since, attributes=dict(attributes))
        started.end(time.time_ns())


def _trace(message_id: UUID | str) -> int | None:
    """The trace's id; None if the message is not traced, or the text is not an id."""
    if isinstance(message_id, str):
        try:
            message_id = ids.from_text(message_id)
        except ValueError:
            return None
    trace = message_id.int
    return trace if trace & _RANDOM_BITS < _ratio * (_RANDOM_BITS + 1) else None


def _first(trace: int) -> int:
    return int.from_bytes(hashlib.sha256(trace.to_bytes(16)).digest()[:8]) or 1

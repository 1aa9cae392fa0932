"""Traces by OpenTelemetry, if TRACING_ENDPOINT is set; else nothing is imported: a check of `is_on` is all the cost.

A message's trace id is its own id, and its first span's id is made from it: both are 128 bits of which half and more
are random, as OpenTelemetry asks. So every process knows the trace of a message from the message alone. No column, no
header and no sampling flag has to travel through outbox and Kafka, and whether a message is traced (TRACING_RATIO)
every process decides alike. The messages of a batch have ids in a row: they are traced together or not at all.
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
"""Whether spans are wanted. Set by `start`; ask before gathering what a span tells."""

_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_ratio = 0.0
# The ids that the next span without a parent gets: its trace's and its own.
_next_ids: ContextVar[tuple[int, int]] = ContextVar("next_ids")


class TracingUnavailable(Exception):
    """TRACING_ENDPOINT is set, but OpenTelemetry's SDK is not installed: pip install -r requirements-tracing.txt"""


def start(process: str, config: Tracing) -> None:
    """Send spans from now on, if the settings say where. To be called in each process, after any fork.

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
        """The ids that were set for the next span; random ones otherwise."""

        def generate_trace_id(self) -> int:
            given = _next_ids.get(None)
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = _next_ids.get(None)
            return given[1] if given else super().generate_span_id()

    _provider = TracerProvider(
        resource=Resource.create({"service.name": f"smsgateway-{process}"}),
        sampler=ALWAYS_ON,  # what is not wanted never becomes a span
        id_generator=GivenIds(),
    )
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=config.endpoint)))
    _tracer = _provider.get_tracer("smsgateway")
    _ratio = config.ratio
    is_on = True


def stop() -> None:
    """Send what is left; the process ends."""
    global is_on
    is_on = False
    if _provider is not None:
        _provider.shutdown()


def first_span(name: str, message_ids: Iterable[UUID], *, since: int, told: Mapping[str, Any]) -> None:
    """The span that a message's trace begins with, from `since` (nanoseconds, Unix) until now."""
    from opentelemetry.context import Context

    for message_id in message_ids:
        trace = _trace(message_id)
        if trace is not None:
            token = _next_ids.set((trace, _first(trace)))
            try:
                _record(name, Context(), since, told)
            finally:
                _next_ids.reset(token)


def span(name: str, message_ids: Iterable[UUID | str], *, since: int, told: Mapping[str, Any]) -> None:
    """A span of each of these messages, under its first one, from `since` (nanoseconds, Unix) until now."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    for message_id in message_ids:
        trace = _trace(message_id)
        if trace is not None:
            first = SpanContext(trace, _first(trace), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            _record(name, set_span_in_context(NonRecordingSpan(first)), since, told)


def _record(name: str, context: Any, since: int, told: Mapping[str, Any]) -> None:
    if _tracer is not None:
        made = _tracer.start_span(name, context=context, start_time=since, attributes=dict(told))
        made.end(time.time_ns())


def _trace(message_id: UUID | str) -> int | None:
    """The trace's id; None if this message is not traced, or is no message's id."""
    if isinstance(message_id, str):
        try:
            message_id = ids.from_text(message_id)
        except ValueError:
            return None
    trace = message_id.int
    return trace if trace & _RANDOM_BITS < _ratio * (_RANDOM_BITS + 1) else None


def _first(trace: int) -> int:
    return int.from_bytes(hashlib.sha256(trace.to_bytes(16)).digest()[:8]) or 1

"""What operators with an HTTP API share: connections, limits, the meaning of HTTP answers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import structlog

from apps.sms.operators import documents
from apps.sms.operators.base import OperatorMessageId, Submission, Throttled, TransientSubmitError
from apps.sms.operators.xml_documents import decode_xml
from smsgateway import metrics
from smsgateway.config import Operator as OperatorSettings
from smsgateway.http.retry_after_parser import retry_after_seconds

if TYPE_CHECKING:
    import aiohttp

log = structlog.get_logger(__name__)

# Statuses about the connection or our credentials, not about the message.
_TRANSIENT_STATUSES: Final = frozenset({401, 408, 425})
# Answers about one message are far shorter. A longer one is not read to its end.
LONGEST_ANSWER: Final = 256 * 1024
_MOST_FIELDS: Final = 200

Fault = Literal["", "broken_off", "too_long", "bad_encoding", "no_document", "no_code", "no_id"]


class HttpAnswer(NamedTuple):
    """An answer. `retry_after`: the seconds that it asks to wait, if it does. `charset`: the declared charset of its
    body. `fault`: why the body is missing or incomplete, if it is."""

    status: int
    body: bytes
    retry_after: float | None
    charset: str = ""
    fault: Fault = ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return documents.decode_text(self.body, self.charset)

    def document(self, form: str = "json") -> object:
        """The document in the body, in a form that is `json`, `form` or `xml`; None without one."""
        try:
            if form == "xml":
                return decode_xml(self.body, self.charset)
            if form == "form":
                return dict(parse_qsl(self.text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)) or None
            return documents.decode_document(self.body, self.charset)
        except ValueError:
            return None


def submission_of(
    answer: HttpAnswer, found: str | None, *, operator: str, message_id: str, fault: Fault = ""
) -> Submission:
    """The result of an accepted message. `found`: the id in the answer, if any; `fault`: what else the answer lacks.

    Without a usable id the message counts as submitted all the same: trying again would send it twice. A receipt with
    our reference still finds it.
    """
    operator_message_id = usable_id(found)
    fault = answer.fault or fault or ("" if operator_message_id else "no_id")
    if fault:
        metrics.DELIVERY_UNREADABLE_ANSWERS.labels(operator, fault).inc()
        log.warning(
            "operator_answer_unreadable",
            operator=operator,
            message_id=message_id,
            reason=fault,
            http_status=answer.status,
            length=len(answer.body),
        )
    return Submission(operator_message_id)


def error_code(text: str) -> str:
    """An operator's code as it is stored: 64 printable characters at most."""
    return re.sub(r"[\x00-\x1f\x7f]", "", text)[:64]


def usable_id(found: str | None) -> str:
    """The operator's id if it can be stored; otherwise an empty text."""
    try:
        return "" if found is None or "\ufffd" in found else msgspec.convert(found, OperatorMessageId)
    except msgspec.ValidationError:
        return ""


class HttpConnections:
    """At most `connections` connections to an operator; a request waits `timeout` seconds at most for its answer."""

    def __init__(self, *, connections: int, timeout: float, headers: Mapping[str, str]) -> None:
        self._connections = connections
        self._timeout = timeout
        self._headers = {"Accept-Encoding": "gzip, deflate"}
        if any(name.lower() == "accept-encoding" for name in headers):
            self._headers.clear()
        self._headers |= headers
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, url: str, body: bytes | None = None) -> HttpAnswer:
        """Send a request. Raises TransientSubmitError: no connection, or no answer in time.

        An answer begins with its status: after a 2xx the operator has accepted the message, even if the rest is lost.
        """
        # Imported here: processes that only read receipts and names need no HTTP client.
        import aiohttp
        import yarl

        from apps.sms.operators import http_status_line as status_lines

        begun = status_lines.begin()
        try:
            async with self._open().request(
                method, yarl.URL(url, encoded=True), data=body, allow_redirects=False
            ) as response:
                answer = await _read(response)
        except (aiohttp.ClientConnectorError, ValueError):  # ValueError: the URL is invalid
            raise TransientSubmitError("unreachable") from None
        except (TimeoutError, aiohttp.ClientError) as error:
            # The head is incomplete or not HTTP, but the status may have arrived.
            status = status_lines.status_of(begun)
            if status is None or not 200 <= status < 300:
                code = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
                raise TransientSubmitError(code) from None
            answer = HttpAnswer(status, b"", None, fault="broken_off")
        if answer.fault == "broken_off" and not answer.is_success:
            raise TransientSubmitError("connection_lost", retry_after=answer.retry_after)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        from apps.sms.operators import http_status_line as status_lines

        if self._session is None:  # not in the constructor: a session belongs to the loop it is made in
            self._session = aiohttp.ClientSession(
                connector=status_lines.connector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                # `_unpack` does it: an invalid gzip body must not hide the status.
                auto_decompress=False,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> HttpAnswer:
    """Read the answer's body. Never raises for it."""
    import aiohttp

    body = bytearray()
    fault: Fault = ""
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > LONGEST_ANSWER:
                fault = "too_long"
                response.close()
                break
    except (OSError, aiohttp.ClientError):  # a timeout is an OSError
        fault = "broken_off"
    unpacked, unpack_fault = _unpack(bytes(body[:LONGEST_ANSWER]), response.headers.get("Content-Encoding", ""))
    retry_after = retry_after_seconds(response.headers.getall("Retry-After", ()))
    charset = response.headers.get("Content-Type", "").lower().partition("charset=")[2].split(";")[0].strip(" \"'")
    return HttpAnswer(response.status, unpacked, retry_after, charset, fault or unpack_fault)


def _unpack(body: bytes, encoding: str) -> tuple[bytes, Fault]:
    """Decode the body's content encoding, as far as possible."""
    match encoding.strip().lower():
        case "" | "identity":
            return body, ""
        case "gzip" | "x-gzip":
            widths = [16 + zlib.MAX_WBITS]
        case "deflate":  # with zlib's header, as in RFC 9110, and without, as some servers send it
            widths = [zlib.MAX_WBITS, -zlib.MAX_WBITS]
        case _:
            return body, "bad_encoding"
    for width in widths:
        unpacking = zlib.decompressobj(wbits=width)
        try:
            unpacked = unpacking.decompress(body, LONGEST_ANSWER)
        except zlib.error:
            continue
        if unpacking.eof:
            return unpacked, ""
        return unpacked, "too_long" if unpacking.unconsumed_tail else "bad_encoding"
    return body, "bad_encoding"  # it may not be compressed at all


class JsonApi:
    """A JSON API under a base URL, with a bearer token."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._url = settings.url.rstrip("/")
        self._connections = HttpConnections(
            connections=settings.in_flight,
            timeout=settings.timeout,
            headers={"Authorization": f"Bearer {settings.token}", "Content-Type": "application/json"},
        )

    async def post(self, path: str, payload: dict[str, Any]) -> HttpAnswer:
        """Send `payload`; return the answer about the message: a 2xx, or a 4xx that refuses it.

        Raises Throttled (429) or TransientSubmitError: no connection, no answer in time, 5xx, or a status that is not
        about the message.
        """
        answer = await self._connections.request("POST", self._url + path, msgspec.json.encode(payload))
        if answer.status == 429:
            raise Throttled(retry_after=answer.retry_after)
        if answer.status in _TRANSIENT_STATUSES or 300 <= answer.status < 400 or answer.status >= 500:
            raise TransientSubmitError(f"http_{answer.status}", retry_after=answer.retry_after)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

"""An SMTP server on this machine (aiosmtpd): STARTTLS or TLS, a login, and refusals on demand."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, NamedTuple, cast

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

USER, PASSWORD = "gateway", "password: $ecret=="


class Received(NamedTuple):
    """An e-mail as it came: the envelope's addresses, the message, and how it was spoken."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str


class MailServer:
    """`received` in their order. `refusal`: what it answers to an e-mail instead of taking it."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.refusal = ""
        self.refused = 0
        self.port = 0
        self.authority = trustme.CA()

    async def handle_DATA(self, smtp: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        if self.refusal:
            self.refused += 1
            return self.refusal
        message = cast(EmailMessage, message_from_bytes(envelope.content, policy=default))
        user = session.auth_data.decode() if session.auth_data else ""
        encrypted = smtp.transport.get_extra_info("ssl_object") is not None
        self.received.append(Received(envelope.mail_from, envelope.rcpt_tos, message, encrypted, user))
        return "250 taken"


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword) -> AuthResult:
    right = (given.login.decode(), given.password.decode()) == (USER, PASSWORD)
    return AuthResult(success=right, handled=False, auth_data=given.login)


@contextmanager
def mail_server(security: str) -> Iterator[MailServer]:
    """It runs meanwhile. `security`: as EMAIL_SECURITY has it; unless `none` it takes a login."""
    server = MailServer()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.port = taken.getsockname()[1]
    options: dict[str, Any] = {}
    if security != "none":
        options = {"authenticator": _authenticate}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    elif security == "tls":
        options |= {"ssl_context": context, "auth_require_tls": False}  # it speaks TLS from the first byte
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def trusted(server: MailServer, folder: Path) -> str:
    """A file of the authority that vouches for the server, for SSL_CERT_FILE."""
    file = folder / "authority.pem"
    server.authority.cert_pem.write_to_path(str(file))
    return str(file)

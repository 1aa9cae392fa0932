"""Sends one e-mail at a time."""

from __future__ import annotations

import smtplib

from django.core.mail import EmailMessage, get_connection


def mail_send(message: EmailMessage) -> Exception | None:
    """Send it; why the server did not take it, or None. An invalid address (ValueError) must not hold up others."""
    taken = 0
    try:
        with get_connection() as server:  # closed also if it was opened by half
            taken = server.send_messages([message])
    except (OSError, ValueError, smtplib.SMTPException) as error:
        return None if taken else error  # a server that breaks off after taking it has taken it
    return None

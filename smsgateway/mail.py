"""Sends one e-mail at a time."""

from __future__ import annotations

import smtplib

from django.core.mail import EmailMessage, get_connection


def mail_send(message: EmailMessage) -> Exception | None:
    """Send a message. Returns the error if the server did not take it, else None. An invalid address raises nothing."""
    taken = 0
    try:
        with get_connection() as server:  # closes even a connection that was only partly opened
            taken = server.send_messages([message])
    except (OSError, ValueError, smtplib.SMTPException) as error:
        return None if taken else error  # a server that disconnects after it took the message has taken it
    return None

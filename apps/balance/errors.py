"""Errors of accounts and their ledgers."""

from __future__ import annotations

from smsgateway.errors import GatewayError


class InsufficientBalance(GatewayError):
    """The balance does not cover the cost; nothing was charged"""

    code = "insufficient_balance"
    status = 402


class InvalidAmount(GatewayError):
    """The amount cannot be booked"""

    code = "invalid_amount"
    status = 400


class ReferenceUsed(GatewayError):
    """A top-up with this reference was booked for the customer, with another amount"""

    code = "reference_used"
    status = 409


class FormUsed(GatewayError):
    """This form was used before, for something else"""

    code = "form_used"
    status = 409


class InvalidThreshold(GatewayError):
    """The threshold of a low balance must be positive"""

    code = "invalid_threshold"
    status = 400


class StatementArchived(GatewayError):
    """Entries of the statement are in the archive"""

    code = "statement_archived"
    status = 410

"""What can be wrong about money."""

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

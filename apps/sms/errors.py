"""The errors about messages, receipts and callbacks."""

from __future__ import annotations

from smsgateway.errors import GatewayError


class MessageNotFound(GatewayError):
    """There is no such message"""

    code = "message_not_found"
    status = 404


class MessageArchived(GatewayError):
    """Messages of that time are in the archive"""

    code = "message_archived"
    status = 410


class NotCancelable(GatewayError):
    """The message can no longer be canceled"""

    code = "not_cancelable"
    status = 409


class OperatorNotFound(GatewayError):
    """There is no such operator"""

    code = "operator_not_found"
    status = 404


class ReceiptAddressRefused(GatewayError):
    """Receipts of this operator are not accepted from this address"""

    code = "receipt_address_refused"
    status = 403


class InvalidSignature(GatewayError):
    """The signature of the receipt is missing or wrong"""

    code = "invalid_signature"
    status = 401


class IdempotencyKeyReused(GatewayError):
    """The Idempotency-Key was used for another request"""

    code = "idempotency_key_reused"
    status = 422


class RequestInProgress(GatewayError):
    """The first request with this Idempotency-Key is still running"""

    code = "request_in_progress"
    status = 409
    retryable = True


class CallbackNotFound(GatewayError):
    """There is no such callback"""

    code = "callback_not_found"
    status = 404

"""The operations on messages, callbacks and receipts, as the OpenAPI document describes them."""

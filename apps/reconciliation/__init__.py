"""Compares messages and money in PostgreSQL, ClickHouse and the ledger, and repairs differences where that is safe.

It is above the other apps: it reads `sms`, `balance` and `reporting`, and none of them imports it.
"""

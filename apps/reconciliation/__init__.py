"""Compares what the parts of the gateway say of the same messages and money, and mends what may be mended.

It stands above the other apps: it reads `sms`, `balance` and `reporting`, and none of them knows it.
"""

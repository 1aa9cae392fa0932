"""Operators spoken to by SMPP 3.4, described by settings alone: see docs/reference/operators.md.

Source: Short Message Peer to Peer Protocol Specification v3.4, issue 1.2.
"""

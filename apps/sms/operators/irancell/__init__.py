"""Irancell (MTN)."""

from apps.sms.operators.irancell.client import Irancell

__all__ = ["Irancell"]

"""MCI (Hamrah-e-Aval)."""

from apps.sms.operators.mci.client import Mci

__all__ = ["Mci"]

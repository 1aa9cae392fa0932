"""The type of the fixture `make_customer`."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

MakeCustomer = Callable[..., UUID]

"""The gateway's settings: declared in `groups`, read by `load`, available as `settings.CONFIG` in Django."""

from smsgateway.config.load import (
    DEPLOYED,
    declarations,
    load,
    operator_changed,
    operator_declarations,
    read_files,
    warnings,
)
from smsgateway.config.operators import HttpOperator, Operator, SmppOperator
from smsgateway.config.problem import Problem
from smsgateway.config.setting_field import REQUIRED
from smsgateway.config.settings import Config

__all__ = [
    "DEPLOYED",
    "REQUIRED",
    "Config",
    "HttpOperator",
    "Operator",
    "Problem",
    "SmppOperator",
    "declarations",
    "load",
    "operator_changed",
    "operator_declarations",
    "read_files",
    "warnings",
]

"""The gateway's settings: declared in `groups`, read by `load`; `settings.CONFIG` in Django."""

from smsgateway.config.declare import REQUIRED
from smsgateway.config.groups import Config, Operator
from smsgateway.config.load import Problem, declarations, load, read_files

__all__ = ["REQUIRED", "Config", "Operator", "Problem", "declarations", "load", "read_files"]

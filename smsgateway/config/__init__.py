"""The gateway's settings: declared in `groups`, read by `load`; `settings.CONFIG` in Django."""

from smsgateway.config.declare import REQUIRED
from smsgateway.config.groups import Config, Operator
from smsgateway.config.load import DEPLOYED, Problem, declarations, load, read_files

__all__ = ["DEPLOYED", "REQUIRED", "Config", "Operator", "Problem", "declarations", "load", "read_files"]

"""Log lines: set up once for a process, masked always."""

from stream.logs.masked import mask
from stream.logs.setup import configure, get_logger
from stream.logs.webhook_lines import webhook_line

__all__ = ["configure", "get_logger", "mask", "webhook_line"]

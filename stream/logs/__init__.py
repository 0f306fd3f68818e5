"""Structured log lines, always masked. ``configure`` sets them up once in a process."""

from stream.logs.masked import mask
from stream.logs.setup import configure, get_logger
from stream.logs.webhook_lines import webhook_line

__all__ = ["configure", "get_logger", "mask", "webhook_line"]

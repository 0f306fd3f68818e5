"""Log lines: set up once for a process, masked always."""

from stream.logs.setup import configure, get_logger, mask, webhook_line

__all__ = ["configure", "get_logger", "mask", "webhook_line"]

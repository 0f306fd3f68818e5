"""Names of the headers of our records. Other systems rely on them: none ever changes."""

from __future__ import annotations

from enum import StrEnum

# CloudEvents 1.0, binary mode: every webhook and event.
CE_VERSION = "ce_specversion"
CE_ID = "ce_id"
CE_TYPE = "ce_type"
CE_SOURCE = "ce_source"
CE_TIME = "ce_time"

# Of a parked webhook. They stay when it is published to webhooks again, and are removed when it is redriven.
ATTEMPT = "attempt"
FIRST_FAILED = "first-failed"
NOT_BEFORE = "not-before"
REASON = "reason"
RETRY_HEADERS = frozenset({ATTEMPT, FIRST_FAILED, NOT_BEFORE, REASON})

REROUTE = "reroute"  # moved to its contact's partition, once
REDRIVEN = "redriven"  # the number of the dead letter that was redriven


class DeadLetterHeader(StrEnum):
    """The headers that a dead letter, or the marker that closes one, carries beside the original headers."""

    TOPIC = "dl-topic"
    PARTITION = "dl-partition"
    OFFSET = "dl-offset"
    TIMESTAMP = "dl-timestamp"
    STAGE = "dl-stage"
    ERROR = "dl-error"
    REASON = "dl-reason"
    ATTEMPTS = "dl-attempts"
    FIRST_FAILED = "dl-first-failed"
    FAILED_AT = "dl-failed-at"
    VERSION = "dl-version"
    CLOSES = "dl-closes"
    BECAME = "dl-became"
    CLOSED_AT = "dl-at"


DEAD_LETTER_PREFIX = "dl-"  # of all of them, also those of a later version

"""The errors of this project, by what the caller must do: retry, park, publish a dead letter, stop.

Rule 1: the text of an error never contains an identifier in clear, so it may be logged as it is.
"""

from __future__ import annotations

from enum import StrEnum


class Billed(StrEnum):
    """Whether a failed call was billed. ``no``: it was certainly not carried out, so it may be retried."""

    NO = "no"
    UNSURE = "unsure"  # after a time-out, a connection reset, a 5xx


class StreamError(Exception):
    """Base class of the errors that this project raises on purpose."""


class TransientError(StreamError):
    """A later attempt may succeed: retry within the deadline, then park."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        """``retry_after``: seconds to wait, if the other side named them."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class PartnerUnavailableError(TransientError):
    """A partner did not answer, refused for now, or was not asked because its breaker is open.

    ``billed`` says whether the call may have been carried out.
    """

    def __init__(self, reason: str, *, billed: Billed = Billed.UNSURE, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after=retry_after)
        self.billed = billed


class CredentialsRefusedError(PartnerUnavailableError):
    """A partner refuses our credentials: every call fails until an operator corrects them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, billed=Billed.NO)


class BudgetSpentError(TransientError):
    """The day's budget of a provider, or the source's share of it, is spent: park for the longest delay."""


class DatabaseUnavailableError(TransientError):
    """PostgreSQL can't be reached, or could not execute a statement: no paid call may start."""

    def __init__(self, reason: str, *, is_away: bool = True) -> None:
        """``is_away``: it did not answer. False if it answered but could not execute the statement (a conflict)."""
        super().__init__(reason)
        self.is_away = is_away


class PoisonError(StreamError):
    """The record can never succeed: publish it as a dead letter, with the reason."""

    def __init__(self, reason: str, *, path: str = "") -> None:
        """``path``: the field at fault, such as ``attributes.updated_at``."""
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path


class DeadlyError(PoisonError):
    """Workers died during paid calls for this webhook: another attempt would end another worker."""

    def __init__(self, calls: int, event_id: str) -> None:
        """``calls``: paid calls for this webhook that were never settled."""
        super().__init__(
            f"workers died in {calls} paid calls for this webhook. Find out why (the partner's answer, memory), then"
            f" set status = 'unsure' in stream.paid_calls where event_id = '{event_id}', and redrive it"
        )


class GivenUpError(PoisonError):
    """A webhook failed until RETRY_MAX_AGE had passed, and nothing is known about its contact."""


class LeadRefusedError(PoisonError):
    """The CRM refuses a write for this lead. The lead is at fault if other writes succeed; else the CRM sync is."""


class RefusedError(StreamError):
    """``partner`` refuses our credentials or quota and bills nothing. Asking again at once would not help."""

    billed = Billed.NO

    def __init__(self, partner: str, reason: str) -> None:
        super().__init__(f"{partner}: {reason}")
        self.partner = partner
        self.reason = reason


class StopError(StreamError):
    """Continuing would do harm: log the state and exit with ``exit_code``; the supervisor restarts the process."""

    exit_code = 1


class DlqLimitError(StopError):
    """Too many records can never succeed: an operator must look before more of them become dead letters."""

    exit_code = 3


class GroupError(StopError):
    """The worker can't continue as a member of its consumer group.

    ``must_leave``: it must leave the group first, because the group would give it the same assignment again.
    """

    def __init__(self, reason: str, *, must_leave: bool) -> None:
        super().__init__(reason)
        self.must_leave = must_leave

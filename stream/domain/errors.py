"""The tree of errors, by what the caller must do: retry, park, dead-letter, stop.

A message here never holds an identifier in clear: it may be logged as it is.
"""

from __future__ import annotations

from enum import StrEnum


class Billed(StrEnum):
    """Whether a call that failed was billed. ``no``: certainly not carried out, so that it may be tried again."""

    NO = "no"
    UNSURE = "unsure"  # a time-out, a reset, a 5xx


class StreamError(Exception):
    """Whatever this project raises on purpose."""


class TransientError(StreamError):
    """Trying again later may succeed: retry within the deadline, else park."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        """``retry_after`` is in seconds, where the other side said so."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class PartnerUnavailableError(TransientError):
    """A partner did not answer, or refused for now; the breaker may be open.

    ``billed`` says whether the call may have been carried out.
    """

    def __init__(self, reason: str, *, billed: Billed = Billed.UNSURE, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after=retry_after)
        self.billed = billed


class CredentialsRefusedError(PartnerUnavailableError):
    """A partner refuses us, not what we asked for: every call ends so until somebody mends it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, billed=Billed.NO)


class BudgetSpentError(TransientError):
    """The day's budget of a partner, or the part of it that a source may use, is spent: park for the longest delay."""


class DatabaseUnavailableError(TransientError):
    """PostgreSQL can't be reached, or did not carry a statement out for now: no paid call may start."""

    def __init__(self, reason: str, *, is_away: bool = True) -> None:
        """``is_away``: it did not answer. False where another writer was first, or the like."""
        super().__init__(reason)
        self.is_away = is_away


class PoisonError(StreamError):
    """The message can never succeed: dead-letter it, with the reason."""

    def __init__(self, reason: str, *, path: str = "") -> None:
        """``path`` names the field at fault, as ``attributes.updated_at``."""
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path


class DeadlyError(PoisonError):
    """A webhook in whose paid calls workers have died: another try would only end another worker."""

    def __init__(self, calls: int, event_id: str) -> None:
        """``calls`` that have no end in the ledger."""
        super().__init__(
            f"workers died in {calls} paid calls for this webhook. Find out why (the partner's answer, memory), then"
            f" set status = 'unsure' in stream.paid_calls where event_id = '{event_id}', and redrive it"
        )


class GivenUpError(PoisonError):
    """A webhook that was tried for as long as any may be, and of whose contact nothing is known."""


class LeadRefusedError(PoisonError):
    """The CRM refuses a write for this lead: its fault while other writes succeed, ours while none does."""


class RefusedError(StreamError):
    """``partner`` refuses us (credentials, quota): asking again only makes it worse. It bills nothing."""

    billed = Billed.NO

    def __init__(self, partner: str, reason: str) -> None:
        super().__init__(f"{partner}: {reason}")
        self.partner = partner
        self.reason = reason


class StopError(StreamError):
    """Going on would do harm: log the state, leave with ``exit_code``, let the supervisor restart."""

    exit_code = 1


class DlqLimitError(StopError):
    """Too much of what is read can never succeed: somebody must look before more of it becomes dead letters."""

    exit_code = 3


class GroupError(StopError):
    """The worker can't be a member of its consumer group as it is.

    ``must_leave``: nor with the assignment that the group would give it again.
    """

    def __init__(self, reason: str, *, must_leave: bool) -> None:
        super().__init__(reason)
        self.must_leave = must_leave

"""The input of the verifier: what was read from topics, ledger, CRM and commits. Times are in epoch seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

Place = tuple[int, int]  # partition, offset


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of ``webhooks``. ``event_id``: "" if it can't be read; ``moved``: rerouted, parked or redriven."""

    place: Place
    event_id: str
    key: str
    moved: bool = False
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Emission:
    """One event of ``contacts.enriched``, in the order of its partition."""

    place: Place
    event_id: str
    revision: str
    key: str
    outcome: str
    at: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. ``origin``: its place in ``webhooks``, None if it was never there."""

    origin: Place | None
    event_id: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """One row of the ledger."""

    provider: str
    alias: str
    status: str
    reserved_at: float
    settled_at: float | None


@dataclass(slots=True)
class Evidence:
    """All evidence of a run. ``answered``: ids that the producers answered 200; ``kills``: when a worker was killed."""

    arrivals: list[Arrival] = field(default_factory=list)
    emissions: list[Emission] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    parked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    mended: list[float] = field(default_factory=list)
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    leads: list[Mapping[str, Any]] = field(default_factory=list)
    recorded_leads: set[str] = field(default_factory=set)  # ids in the CRM of the leads that we know we created
    unconfirmed_messages: int = 0
    unconfirmed_leads: int = 0
    journal: set[str] | None = None  # None: it does not run

    @property
    def unconfirmed(self) -> int:
        """How many writes to the CRM may have been carried out."""
        return self.unconfirmed_messages + self.unconfirmed_leads

    def dump(self, path: Path) -> None:
        """Write it beside the logs of a run that broke a promise."""
        path.write_bytes(orjson.dumps(asdict(self), default=list))

    def reasons(self) -> Counter[str]:
        """Dead letters by stage and reason."""
        return Counter(f"{letter.stage}: {letter.reason}" for letter in self.letters)

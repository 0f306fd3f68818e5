"""What the project knows of one source of leads. ``stream.domain.sources`` is the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.domain.forms import FormAnswer
from stream.domain.sources.lead import Lead, Source

Reader = Callable[[dict[str, Any]], Lead]
Identity = Callable[[Lead], str]


@dataclass(frozen=True, slots=True)
class ExistsInCrm:
    """The CRM has the lead before us: it gets messages. ``closed_action``: the hook action after which it gets none."""

    closed_action: str


@dataclass(frozen=True, slots=True)
class CreatedInCrm:
    """The CRM does not have the lead: we create it, whatever is known, and tell it later what becomes known.

    What the person typed reaches the CRM through the event or not at all, so events of such leads carry it.
    ``answers_heading``: the line above ``answers`` in the description. ``source_name``: the CRM's name of the source,
    made from the lead's answers; None takes C2S_SOURCE.
    """

    answers_heading: str
    source_name: Callable[[Sequence[FormAnswer]], str] | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source.

    ``id_field``: the field of the payload that names the lead. ``read``: payload -> Lead; raises PoisonError.
    ``identity``: the text that ``event_id`` is the UUIDv5 of, in a namespace of the source's own; raises ValueError for
    a lead that no reader makes. ``needs_instant``: whether a webhook without a readable instant is refused.
    ``payload_schema``: JSON Schema of a payload, without references; it accepts at least what ``read`` does.
    """

    source: Source
    id_field: str
    read: Reader
    identity: Identity
    crm: ExistsInCrm | CreatedInCrm
    needs_instant: bool
    payload_schema: Mapping[str, Any]
    is_created: bool = field(init=False)  # asked for every webhook

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_created", isinstance(self.crm, CreatedInCrm))

"""What the project knows about one source of leads. ``stream.domain.sources`` is the table of all sources."""

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
    """The CRM has the lead already: it gets messages. ``closed_action``: after this hook action it gets none."""

    closed_action: str


@dataclass(frozen=True, slots=True)
class CreatedInCrm:
    """The CRM does not have the lead. We create it, whatever is known, and later send what becomes known as a message.

    Events of such leads carry what the person typed, because it reaches the CRM in no other way. ``answers_heading``:
    the line above ``answers`` in the description. ``source_name``: returns the CRM's name of the source from the lead's
    answers; None means C2S_SOURCE.
    """

    answers_heading: str
    source_name: Callable[[Sequence[FormAnswer]], str] | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source.

    ``id_field``: the field of the payload that names the lead. ``read``: payload -> Lead; raises PoisonError.
    ``identity``: the text whose UUIDv5 is the ``event_id``; it begins with the source's name; raises ValueError for a
    lead that no reader makes. ``needs_instant``: whether a webhook without a readable instant is refused.
    ``payload_schema``: JSON Schema of a payload, without references; it accepts at least what ``read`` does.
    """

    source: Source
    id_field: str
    read: Reader
    identity: Identity
    crm: ExistsInCrm | CreatedInCrm
    needs_instant: bool
    payload_schema: Mapping[str, Any]
    is_created: bool = field(init=False)  # stored, because every webhook needs it

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_created", isinstance(self.crm, CreatedInCrm))

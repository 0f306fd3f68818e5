"""What the person typed, as the lines of a CRM description: one line a value, so that no value looks like another's."""

from __future__ import annotations

from stream.domain.events import EnrichedEvent
from stream.domain.sources import source_named
from stream.domain.sources.lead import LONGEST_MESSAGE
from stream.domain.sources.spec import CreatedInCrm
from stream.domain.text import one_line
from stream.domain.typed_contact import TypedContact

HEADING = "RESPOSTAS"  # of answers that no source of ours gives
LONGEST_LINE = 700  # characters: the longest answer with its question


def contact_lines(event: EnrichedEvent) -> list[str]:
    """Phone, e-mail and message as typed, where the event's contact says less."""
    typed = event.lead.typed or TypedContact()
    area = ""
    if event.contact.area_code_assumed and event.contact.phone is not None:
        area = f" (DDD {event.contact.phone[3:5]} presumido)"
    return [
        *_line("Telefone como digitado", typed.phone, area),
        *_line("E-mail como digitado", typed.email),
        *_line("Mensagem do lead", event.lead.message, longest=LONGEST_MESSAGE),
    ]


def answer_lines(event: EnrichedEvent) -> list[str]:
    """The answers of the lead, under its source's heading; a dash tells them from the facts that we found."""
    answers = [f"- {one_line(one.question)}: {one_line(one.answer)}" for one in event.lead.answers]
    return [_heading(event), *(answer[:LONGEST_LINE] for answer in answers)] if answers else []


def _heading(event: EnrichedEvent) -> str:
    spec = source_named(event.lead.source)
    return spec.crm.answers_heading if spec is not None and isinstance(spec.crm, CreatedInCrm) else HEADING


def _line(name: str, value: str | None, note: str = "", longest: int = LONGEST_LINE) -> list[str]:
    text = one_line(value or "")
    return [f"{name}: {text}{note}"[:longest]] if text else []

"""What the person typed, as lines of a CRM description: one line for each value, so values can't be confused."""

from __future__ import annotations

from stream.domain.events import EnrichedEvent
from stream.domain.sources import source_named
from stream.domain.sources.lead import MAX_LEAD_MESSAGE_CHARS
from stream.domain.sources.spec import CreatedInCrm
from stream.domain.text import one_line
from stream.domain.typed_contact import TypedContact

HEADING = "RESPOSTAS"  # of the answers of a source that this version does not know
MAX_LINE_CHARS = 700  # the longest answer with its question


def contact_lines(event: EnrichedEvent) -> list[str]:
    """Phone, e-mail and message as typed, if the event's contact says less."""
    typed = event.lead.typed or TypedContact()
    area = ""
    if event.contact.area_code_assumed and event.contact.phone is not None:
        area = f" (DDD {event.contact.phone[3:5]} presumido)"
    return [
        *_line("Telefone como digitado", typed.phone, area),
        *_line("E-mail como digitado", typed.email),
        *_line("Mensagem do lead", event.lead.message, max_chars=MAX_LEAD_MESSAGE_CHARS),
    ]


def answer_lines(event: EnrichedEvent) -> list[str]:
    """The answers of the lead under its source's heading. A dash distinguishes them from the facts that we found."""
    answers = [f"- {one_line(one.question)}: {one_line(one.answer)}" for one in event.lead.answers]
    return [_heading(event), *(answer[:MAX_LINE_CHARS] for answer in answers)] if answers else []


def _heading(event: EnrichedEvent) -> str:
    spec = source_named(event.lead.source)
    return spec.crm.answers_heading if spec is not None and isinstance(spec.crm, CreatedInCrm) else HEADING


def _line(name: str, value: str | None, note: str = "", max_chars: int = MAX_LINE_CHARS) -> list[str]:
    text = one_line(value or "")
    return [f"{name}: {text}{note}"[:max_chars]] if text else []

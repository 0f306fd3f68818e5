"""What the person typed: swapped, unreadable and incomplete fields; the salesperson reads all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream.domain.crm_message import MAX_MESSAGE_CHARS, description
from stream.domain.events import Answer, EnrichedEvent, Match, Outcome, decode_event, encode_event
from stream.domain.identity import contact_of
from stream.domain.leads import Webhook
from stream.domain.person import Candidate, Person, person_from_candidate, person_from_work
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.domain.sources.lead import Lead, Source
from stream.domain.text import one_line
from stream.domain.typed_contact import TypedContact, typed_contact
from stream.settings import load

NOBODY: frozenset[str] = frozenset()
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CPF = "52998224725"
ANA = "+5511987650123"
PERSON = person_from_candidate(Candidate("ANA SOUZA", CPF), NOW)


def c2s(phone: Any = None, email: Any = None) -> Lead:
    customer = {"name": "Ana", "phone": phone, "email": email}
    return lead_from_c2s({"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": customer}})


def google(*columns: tuple[str, Any]) -> Lead:
    data = [{"column_id": name, "string_value": text} for name, text in columns]
    return lead_from_google({"lead_id": "g", "user_column_data": data})


def event(lead: Lead, area_code: str = "", person: Person | None = None, match: Match | None = None) -> EnrichedEvent:
    answer = Answer(Outcome.NOT_FOUND)
    if person is not None:
        answer = Answer(Outcome.ENRICHED, None, match, person.encode(), person.facts)
    contact = contact_of(lead, NOBODY, area_code)
    return decode_event(encode_event(Webhook(lead.source, NOW, lead), contact, answer, NOW))


@pytest.mark.parametrize(
    ("phone", "email", "expected"),
    [
        ("ana@x.com", "11 98765-0123", (ANA, "ana@x.com")),
        ("ana@x.com", None, (None, "ana@x.com")),
        (None, "11 98765-0123", (ANA, None)),
        ("Ana@X.com", "não tenho", (None, "ana@x.com")),
        ("11 98765-0123 / ana@x.com", "", (ANA, "ana@x.com")),
        ("", "meu e-mail é ana@x.com, tel 11 98765-0123", (ANA, "ana@x.com")),
        ("e-mail: ana@x.com", "", (None, "ana@x.com")),
        ("ana@x.com ou bia@x.com", "", (None, None)),
        ("ana@x.com", "bia@x.com", (None, "bia@x.com")),
        ("11 98765-0123", "11 98765-4444", (ANA, None)),
        ("5511987650123@c.us", "", (ANA, None)),
        ("5511987650123@s.whatsapp.net", "não", (ANA, None)),
        ("", "11987650123@gmail.com", (None, "11987650123@gmail.com")),
        ("teste@teste.com", "", (None, None)),
        ("11 99999-9999 / 11 98765-0123", "", (ANA, None)),
        (11987650123, None, (ANA, None)),
        (11987650123.0, None, (ANA, None)),
        (5511987650123, None, (ANA, None)),
        (1.5, None, (None, None)),
        (1e300, None, (None, None)),
        (2**70, None, (None, None)),
        (True, None, (None, None)),
        (["11 98765-0123"], ["ana@x.com"], (ANA, "ana@x.com")),
        (["3222-1234", None, 11987650123, "11 3222-1234"], [], (ANA, None)),
        (["11", "98765-0123"], None, (None, None)),
        (["nao", {"number": "11987650123"}], None, (ANA, None)),
        ({"ddd": 11, "numero": "98765-0123"}, None, (ANA, None)),
        ({"type": "mobile", "number": "+55 11 98765-0123"}, None, (ANA, None)),
        ([], {}, (None, None)),
    ],
)
def test_a_phone_and_an_email_are_found_wherever_they_were_typed(
    phone: Any, email: Any, expected: tuple[str | None, str | None]
) -> None:
    """Swapped fields, numbers, arrays and objects are read if there is one reading, and never guessed."""
    contact = contact_of(c2s(phone, email), NOBODY)
    assert (contact.phone and contact.phone.e164, contact.email and contact.email.address) == expected


@pytest.mark.parametrize(
    ("phone", "email", "e164"),
    [
        ("98765-0123", "", ANA),
        ("8765-0123", "", ANA),
        ("3222-1234", "", "+551132221234"),
        ("+55 98765-0123", "", ANA),
        ("", "98765-0123", ANA),
        ("apto 21, zap 98765-0123", "", ANA),
    ],
)
def test_a_default_area_code_completes_a_phone_and_says_so(phone: str, email: str, e164: str) -> None:
    """DEFAULT_AREA_CODE completes a phone without area code and marks it as a guess; otherwise it is not read."""
    contact = contact_of(c2s(phone, email), NOBODY, "11")
    assert (contact.phone and contact.phone.e164, contact.area_code_assumed, contact.key) == (e164, True, e164)
    said = event(c2s(phone, email), "11").contact
    assert (said.phone, said.area_code_assumed) == (e164, True)
    unread = contact_of(c2s(phone, email), NOBODY)
    assert (unread.phone, unread.area_code_assumed, unread.aliases) == (None, False, ())


@pytest.mark.parametrize(
    "phone", ["4004-1234", "3003 1234", "+55 4004-1234", "0800 123 4567", "190", "+1 98765", "9999-9999", "99999-9999"]
)
def test_other_numbers_are_never_completed(phone: str) -> None:
    """Firms', short and foreign numbers and placeholders are never completed, whatever the settings."""
    assert contact_of(c2s(phone), NOBODY, "11").phone is None


@pytest.mark.parametrize("phone", ["21 98765-0123", "98765-4444 ou 21 98765-0123", "+351 912 345 678"])
def test_a_phone_with_its_area_code_is_not_assumed(phone: str) -> None:
    """A complete number is not marked as a guess."""
    contact = contact_of(c2s(phone), NOBODY, "11")
    assert contact.phone is not None
    assert not contact.area_code_assumed
    assert not event(c2s(phone), "11").contact.area_code_assumed


@pytest.mark.parametrize(
    ("columns", "typed"),
    [
        ([("PHONE_NUMBER", "11 98765-0123"), ("EMAIL", "Ana@X.com")], None),
        ([("PHONE_NUMBER", "+55 (11) 98765-0123")], None),
        ([("PHONE_NUMBER", "011 8765-0123")], None),
        ([("PHONE_NUMBER", "+351 912 345 678")], None),
        ([("PHONE_NUMBER", "ana@x.com"), ("EMAIL", "11 98765-0123")], None),
        ([("PHONE_NUMBER", "98765-0123")], TypedContact("98765-0123", None)),
        ([("PHONE_NUMBER", "+55 98765-0123"), ("EMAIL", "ana@")], TypedContact("+55 98765-0123", "ana@")),
        ([("PHONE_NUMBER", "11 99999-9999")], TypedContact("11 99999-9999", None)),
        ([("PHONE_NUMBER", "0800 123 4567")], TypedContact("0800 123 4567", None)),
        ([("PHONE_NUMBER", "11 98765-0123 ramal 3")], TypedContact("11 98765-0123 ramal 3", None)),
        ([("PHONE_NUMBER", "11 98765-0123 / 11 3222-1234")], TypedContact("11 98765-0123 / 11 3222-1234", None)),
        ([("PHONE_NUMBER", "ligar 18h 11987650123")], TypedContact("ligar 18h 11987650123", None)),
        ([("EMAIL", "ana@x.com ou bia@x.com")], TypedContact(None, "ana@x.com ou bia@x.com")),
    ],
)
def test_what_the_contact_does_not_say_is_kept_as_typed(
    columns: list[tuple[str, Any]], typed: TypedContact | None
) -> None:
    """Unreadable, incomplete or wordy fields are in the event as typed; fields that were read completely are not."""
    lead = google(*columns)
    assert typed_contact(lead, contact_of(lead, NOBODY)) == typed
    assert event(lead).lead.typed == typed


def test_an_unreadable_phone_is_described_and_is_no_phone_of_the_crm() -> None:
    """A text that is no phone is in the description only; the CRM's fields have what was read."""
    said = event(google(("FULL_NAME", "Ana"), ("PHONE_NUMBER", "98765-0123"), ("EMAIL", "ana@"), ("Renda?", "8 mil")))
    assert (said.contact.phone, said.contact.email) == (None, None)
    lines = description(said).splitlines()
    assert lines[1:] == [
        "Telefone como digitado: 98765-0123",
        "E-mail como digitado: ana@",
        "RESPOSTAS DO FORMULÁRIO",
        "- Renda?: 8 mil",
    ]


def test_an_assumed_area_code_is_said_to_be_one() -> None:
    """The description says that the area code is assumed."""
    assert "Telefone como digitado: 98765-0123 (DDD 11 presumido)" in description(
        event(google(("PHONE_NUMBER", "98765-0123")), "11")
    )


def test_c2s_leads_carry_nothing_typed() -> None:
    """The event of a C2S lead has nothing typed, because the CRM has the lead."""
    lead = c2s("98765-0123", "ana@")
    value = encode_event(Webhook(Source.C2S, NOW, lead), contact_of(lead, NOBODY), Answer(Outcome.NO_CONTACT), NOW)
    assert not any(name in value for name in (b"98765", b"typed", b"answers", b'"message"'))


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\N{LINE SEPARATOR}"])
def test_a_typed_line_break_forges_no_line(line_end: str) -> None:
    """Each value is one line, so no typed text can imitate a fact or a warning."""
    forged = f"oi{line_end}CPF: 111.444.777-35"
    lead = google(("PHONE_NUMBER", forged), ("EMAIL", forged), (forged, forged), ("Obs", forged))
    lines = description(event(lead, person=PERSON)).splitlines()
    assert [line for line in lines if line.startswith("CPF")] == ["CPF: 529.982.247-25"]


def test_answers_are_cut_before_anything_else() -> None:
    """In a text that is too long the last answers go first; warning, facts and typed contact stay."""
    work = {"DadosBasicos": {"nome": "ANA SOUZA"}, "enderecos": [{"logradouro": "R" * 450, "cidade": "C" * 450}] * 3}
    person = person_from_work(work, CPF, NOW)
    columns = [("PHONE_NUMBER", "98765-0123 " + "x" * 280), *((f"P{number}", "a" * 300) for number in range(20))]
    said = event(google(*columns), person=person, match=Match.NAME_DIFFERS)
    text = description(said)
    assert MAX_MESSAGE_CHARS - 400 < len(text) <= MAX_MESSAGE_CHARS
    facts = description(event(google(), person=person, match=Match.NAME_DIFFERS))
    assert text.startswith(facts + "\nTelefone como digitado: 98765-0123")
    assert "ATENÇÃO" in text
    lines = text.splitlines()
    kept = [line for line in lines if line.startswith("- P")]
    assert kept == [f"- P{number}: {'a' * 300}" for number in range(len(kept))]
    assert 5 < len(kept) < 20
    assert lines[-1] == "[...]"


@given(
    st.text(max_size=600),
    st.lists(st.tuples(st.text(min_size=1, max_size=400), st.text(max_size=600)), max_size=25),
    st.integers(0, 3),
)
def test_no_description_is_longer_than_the_crm_takes(
    typed: str, answers: list[tuple[str, str]], addresses: int
) -> None:
    """Any description fits the CRM's limit and contains the typed phone."""
    parts = ("logradouro", "bairro", "cidade", "complemento")
    work = {
        "DadosBasicos": {"nome": "A" * 500},
        "enderecos": [dict.fromkeys(parts, f"{number}" + "é" * 498) for number in range(addresses)],
    }
    said = event(google(("PHONE_NUMBER", typed), *answers), person=person_from_work(work, CPF, NOW))
    text = description(said)
    assert len(text) <= MAX_MESSAGE_CHARS
    shown = one_line((said.lead.typed and said.lead.typed.phone) or "")
    if shown:
        assert f"Telefone como digitado: {shown}" in text


@pytest.mark.parametrize("text", ["10", "5", "011", "+55", "1a"])
def test_a_default_area_code_must_be_one_of_brazils(text: str) -> None:
    """An area code that does not exist stops the process at its start."""
    assert load({"DEFAULT_AREA_CODE": "11"}).default_area_code == "11"
    with pytest.raises(ValidationError, match="area code"):
        load({"DEFAULT_AREA_CODE": text})

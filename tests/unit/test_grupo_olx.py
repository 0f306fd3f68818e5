"""Leads of Grupo OLX: each usable field is read, and the salesperson reads the rest."""

from __future__ import annotations

import hashlib
import random
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.crm import Create, decide, source_in_crm
from stream.domain.crm_message import MAX_MESSAGE_CHARS, description
from stream.domain.errors import PoisonError
from stream.domain.events import NAMESPACE, Answer, EnrichedEvent, Outcome, decode_event, encode_event, event_id
from stream.domain.forms import FormAnswer
from stream.domain.identity import Phone, contact_of
from stream.domain.leads import RULES_VERSION, Webhook, decode_webhook, encode_webhook, normalised_of
from stream.domain.sources.grupo_olx import PAYLOAD_SCHEMA, read_lead
from stream.domain.sources.lead import MAX_LEAD_MESSAGE_CHARS, Lead, Source
from stream.local.people import population, typed

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 1, 31, 16, tzinfo=UTC)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ddd", "numero", "a"]), inner),
    max_leaves=8,
)
FIELDS = [name for name in PAYLOAD_SCHEMA["properties"] if name != "originLeadId"]


def golden(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = orjson.loads((GOLDEN / f"grupo_olx_{name}.json").read_bytes())
    return payload


def lead(**fields: Any) -> Lead:
    return read_lead({"originLeadId": "o1", "clientListingId": "AP1", **fields})


def event(of: Lead, outcome: Outcome = Outcome.NOT_FOUND) -> EnrichedEvent:
    webhook = Webhook(of.source, NOW, of)
    return decode_event(encode_event(webhook, contact_of(of, frozenset()), Answer(outcome), NOW))


def test_all_that_production_sends_is_read() -> None:
    """Each field of a production payload has its place in the lead."""
    assert read_lead(golden("lead")) == Lead(
        source=Source.GRUPO_OLX,
        id="59ee0fc6e4b043e1b2a6d863",
        updated_at="2026-01-31T15:50:30.619000+00:00",
        hook_action=None,
        name="Ana Paula Souza",
        phone="21998765432",
        email="Ana.Souza@Example.com",
        cpf="",
        product=None,
        message="Olá, tenho interesse neste imóvel.\nAguardo o contato.",
        answers=(
            FormAnswer("Portal", "Grupo OLX"),
            FormAnswer("Código do imóvel", "AP0171"),
            FormAnswer("Código do anúncio", "87027856"),
            FormAnswer("Temperatura", "Alta"),
            FormAnswer("Transação", "Venda"),
        ),
    )
    sparse = read_lead(golden("sparse"))
    assert contact_of(sparse, frozenset()).key == "+5511987654321"
    assert (sparse.name, sparse.email, sparse.message) == ("", "", "")


@pytest.mark.parametrize(
    ("fields", "e164"),
    [
        ({"phoneNumber": "11987654321"}, "+5511987654321"),
        ({"phoneNumber": 11987654321}, "+5511987654321"),
        ({"phoneNumber": "11987654321.0", "ddd": "", "phone": "3222-1234"}, "+5511987654321"),
        ({"ddd": "11", "phone": "987654321"}, "+5511987654321"),
        ({"ddd": 11, "phone": 987654321}, "+5511987654321"),
        ({"ddd": "(011)", "phone": "98765-4321"}, "+5511987654321"),
        ({"ddd": "55", "phone": "98765-4321"}, "+5555987654321"),
        ({"ddd": "55", "phone": "3222-1234"}, "+555532221234"),
        ({"ddd": "11", "phone": "87654321"}, "+5511987654321"),
        ({"ddd": "11", "phone": "3222-1234"}, "+551132221234"),
        ({"ddd": "11", "phone": "11987654321"}, "+5511987654321"),
        ({"ddd": "11", "phone": "+55 98765-4321"}, "+5511987654321"),
        ({"ddd": "11", "phone": "ligar depois das 18h 987650123"}, "+5511987650123"),
        ({"ddd": "11", "phone": ["98765-4321", "3222-1234"]}, "+5511987654321"),
        ({"ddd": "21", "phoneNumber": "98765-4321"}, "+5521987654321"),
        ({"phoneNumber": "11999999999", "ddd": "21", "phone": "987654321"}, "+5521987654321"),
        ({"phoneNumber": {"a": True}, "ddd": "21", "phone": "987654321"}, "+5521987654321"),
        ({"phoneNumber": {"ddd": 11, "numero": "98765-0123"}}, "+5511987650123"),
        ({"phoneNumber": "+351 912 345 678", "ddd": "11", "phone": ""}, "+351912345678"),
        ({"ddd": "11", "phone": "+34 612 345 678"}, "+34612345678"),
        ({"ddd": "11", "phone": "+1 650 555 0123"}, "+16505550123"),
        ({"ddd": "11", "phone": "4004-1234"}, None),
        ({"ddd": "11", "phone": "0800 123 4567"}, None),
        ({"ddd": "10", "phone": "987654321"}, None),
        ({"phone": "987654321"}, None),
        ({"ddd": "11"}, None),
        ({}, None),
    ],
)
def test_whatever_can_be_used_of_a_phone_is(fields: dict[str, Any], e164: str | None) -> None:
    """``phoneNumber``, or ``ddd`` and ``phone``, are read in the forms that people type."""
    phone = contact_of(lead(**fields), frozenset()).phone
    assert (phone and phone.e164) == e164


def test_an_area_code_that_does_not_exist_is_not_replaced() -> None:
    """DEFAULT_AREA_CODE completes only a phone without an area code."""
    assert contact_of(lead(ddd="10", phone="98765-4321"), frozenset(), "11").phone is None
    assert contact_of(lead(phone="98765-4321"), frozenset(), "11").phone == Phone("+5511987654321")


def test_a_second_phone_reaches_the_salesperson() -> None:
    """Of two different numbers the first is looked up, and both are in the description."""
    both = lead(phoneNumber="21 98765-4321", ddd="11", phone="91234-5678")
    text = description(event(both))
    assert contact_of(both, frozenset()).key == "+5521987654321"
    assert "Telefone como digitado: 21 98765-4321 | (11) 912345678" in text


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_field_but_the_id_may_be_anything(fields: dict[str, Any]) -> None:
    """Any JSON in another field does not lose the lead; producers and worker read the same."""
    payload = {**fields, "originLeadId": "o1"}
    raw = orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)
    read = read_lead(orjson.loads(raw))
    contact = contact_of(read, frozenset())
    message = encode_webhook(Source.GRUPO_OLX, NOW, raw, normalised_of(read, contact))
    again = decode_webhook(message).lead
    assert contact_of(again, frozenset()) == contact
    assert (again.id, again.name, again.message, again.answers) == (read.id, read.name, read.message, read.answers)
    assert len(description(event(read))) <= MAX_MESSAGE_CHARS


@pytest.mark.parametrize("value", [None, "", " ", True, 1.5, [], {}, "a/../b", "x" * 257])
def test_a_lead_without_its_id_is_poison(value: Any) -> None:
    """A lead without its id raises PoisonError: a repeat could not be recognised."""
    with pytest.raises(PoisonError) as caught:
        read_lead({**golden("lead"), "originLeadId": value})
    assert caught.value.path == "originLeadId"


def test_the_event_id_is_of_the_lead_alone() -> None:
    """A repeat with another time or text has the same event id."""
    one = event_id(lead(timestamp="2026-01-31T12:00:00Z"))
    assert one == event_id(lead(message="later")) == str(uuid.uuid5(NAMESPACE, "grupo_olx/o1"))


def test_a_lead_without_a_listing_is_a_lead() -> None:
    """The reader accepts a lead without a listing; only the producers refuse it to the portal."""
    assert read_lead(golden("no_listing")).id == "no-listing-1"


@pytest.mark.parametrize(
    ("origin", "portal", "source"),
    [
        ("ZAP", "ZAP", "ZAP"),
        ("zap imóveis", "ZAP", "ZAP"),
        ("VIVAREAL", "VivaReal", "VivaReal"),
        ("Viva Real", "VivaReal", "VivaReal"),
        ("OLX", "OLX", "OLX"),
        ("Grupo OLX", "Grupo OLX", "Grupo OLX"),
        ("grupo olx", "Grupo OLX", "Grupo OLX"),
        ("Outro portal", "Outro portal", "Grupo OLX"),
        (None, None, "Grupo OLX"),
        ({"a": 1}, None, "Grupo OLX"),
    ],
)
def test_the_portal_is_the_source_in_the_crm(origin: Any, portal: str | None, source: str) -> None:
    """One of the three portals is the source, in any spelling; any other text is only described."""
    one = event(lead(leadOrigin=origin))
    assert ({"Portal": portal} if portal else {}).items() <= {a.question: a.answer for a in one.lead.answers}.items()
    assert source_in_crm(one, "Google Ads") == source


def test_the_description_has_all_that_was_said() -> None:
    """The description has each fact on a line of its own, and the message as one line."""
    text = description(event(read_lead({**golden("lead"), "message": "Olá\u202e,\x00\n\x1b[31m- CPF: 1"})))
    assert text.splitlines() == [
        "Lead recebido; nenhum dado encontrado para este contato.",
        "Mensagem do lead: Olá, - CPF: 1",
        "DADOS DO ANÚNCIO",
        "- Portal: Grupo OLX",
        "- Código do imóvel: AP0171",
        "- Código do anúncio: 87027856",
        "- Temperatura: Alta",
        "- Transação: Venda",
    ]


def test_a_long_message_reaches_the_salesperson() -> None:
    """A message is cut at its own limit, above that of other texts."""
    text = description(event(lead(message="palavra " * 200)))
    assert len(lead(message="palavra " * 500).message) == MAX_LEAD_MESSAGE_CHARS
    assert ("palavra " * 200).strip() in text


def test_other_rules_have_another_version() -> None:
    """If the reading of a payload changes, increase RULES_VERSION and update this digest."""
    chance = random.Random(7)
    read = [read_lead(golden(name)) for name in ("lead", "sparse", "no_listing")]
    for someone in population(100, seed=7):
        parts = {"ddd": someone.phone[:2], "phone": someone.phone[2:]}
        phones = (parts, {"phoneNumber": typed(someone.phone, chance)}, {**parts, "ddd": "10"})
        read += [lead(name=someone.name, email=someone.email.upper(), **phone) for phone in phones]
    said = repr([normalised_of(one, contact_of(one, frozenset())) for one in read])
    assert (RULES_VERSION, hashlib.sha256(said.encode()).hexdigest()[:16]) == (2, "d835248980962a0a")


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.NO_CONTACT, Outcome.NOT_FOUND])
def test_a_lead_is_created_whatever_the_outcome(outcome: Outcome) -> None:
    """The lead is created for any outcome, because the CRM does not have it."""
    assert isinstance(decide(event(lead(), outcome), note_not_found=False), Create)

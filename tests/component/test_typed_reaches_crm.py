"""A form over real HTTP, read by producers and worker, written to the CRM: nothing that was typed is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiokafka import ConsumerRecord

from producers.app import App
from producers.memory import MemoryPublisher
from producers.server import listen
from stream import topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.events import Answer, Outcome, encode_event
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.local.simulators import Simulators, serving
from stream.settings import load

NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
GOOGLE = "/api/v1/webhooks/google-ads"


class NoLetters:
    """Stands in for the producer of dead letters: there must be none."""

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> None:
        """Fail."""
        raise AssertionError(args, kwargs)


class Path:
    """From the form to the CRM, without the broker between them."""

    def __init__(self, session: aiohttp.ClientSession, broker: MemoryPublisher, sync: CrmSync, area_code: str) -> None:
        self._session, self._broker, self._sync, self._area_code = session, broker, sync, area_code

    async def send(self, **columns: Any) -> None:
        """POST a form, and bring its event to the CRM as the worker would where nobody is found."""
        data = [{"column_id": name, "string_value": text} for name, text in columns.items()]
        form = {"google_key": "secret", "lead_id": "G1", "form_id": 1, "user_column_data": data}
        async with self._session.post(GOOGLE, json=form) as response:
            assert response.status == 200
        message = self._broker.records[-1]
        webhook = decode_webhook(message.value)
        contact = contact_of(webhook.lead, frozenset(), self._area_code)
        assert message.key == contact.record_key
        value = encode_event(webhook, contact, Answer(Outcome.NOT_FOUND), NOW)
        await self._sync.handle(
            ConsumerRecord(topics.ENRICHED.name, 0, 0, 0, 0, contact.record_key, value, None, 0, len(value), ())
        )


@pytest.fixture
async def crm() -> Simulators:
    return Simulators(scale=0.0)


@pytest.fixture
async def path(request: pytest.FixtureRequest, pool: asyncpg.Pool, crm: Simulators) -> AsyncIterator[Path]:
    area_code = getattr(request, "param", "")
    broker = MemoryPublisher()
    async with serving(crm) as base, aiohttp.ClientSession() as outgoing:
        settings = load({"C2S_BASE_URL": base, "GOOGLE_ADS_KEY": "secret", "DEFAULT_AREA_CODE": area_code})
        sync = CrmSync(C2S(outgoing, settings), CrmWrites(pool), NoLetters(), settings)  # type: ignore[arg-type]
        async with (
            listen(App(settings, broker, lambda: NOW).handle, "127.0.0.1", 0, 100, 2.0) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            yield Path(session, broker, sync, area_code)


async def test_an_unreadable_phone_and_the_answers_reach_the_salesperson(path: Path, crm: Simulators) -> None:
    """They are in the description; the CRM's own fields stay empty rather than wrong."""
    await path.send(
        FULL_NAME="Ana",
        PHONE_NUMBER="+55 98765-0001",
        EMAIL="ana@",
        **{"CPF do cônjuge": "529.982.247-25", "Renda": "8 mil"},
    )
    lead = crm.leads[0]
    assert "phone" not in lead
    assert "email" not in lead
    assert lead["description"].splitlines()[1:] == [
        "Telefone como digitado: +55 98765-0001",
        "E-mail como digitado: ana@",
        "RESPOSTAS DO FORMULÁRIO",
        "- CPF do cônjuge: 529.982.247-25",
        "- Renda: 8 mil",
    ]


@pytest.mark.parametrize("path", ["11"], indirect=True)
async def test_a_completed_phone_is_dialled_and_called_a_guess(path: Path, crm: Simulators) -> None:
    """With DEFAULT_AREA_CODE producers and worker agree on the key, and the CRM gets number and doubt."""
    await path.send(FULL_NAME="Ana", PHONE_NUMBER="98765-0001")
    assert crm.leads[0]["phone"] == "+5511987650001"
    assert "Telefone como digitado: 98765-0001 (DDD 11 presumido)" in crm.leads[0]["description"].splitlines()


async def test_swapped_fields_and_a_wordy_phone_are_recovered(path: Path, crm: Simulators) -> None:
    """The CRM gets phone and e-mail in their own fields."""
    await path.send(FULL_NAME="Ana", PHONE_NUMBER="ana@x.com", EMAIL="ligar depois das 18h 11987650123")
    assert (crm.leads[0]["phone"], crm.leads[0]["email"]) == ("+5511987650123", "ana@x.com")
    assert "E-mail como digitado: ligar depois das 18h 11987650123" in crm.leads[0]["description"].splitlines()

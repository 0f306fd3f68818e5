"""A database as the replaced service left it in production, and that service at work."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg

# As in production: other names of indexes and constraints, cpf_cnpj not unique.
SCHEMA = """
CREATE SCHEMA core;
CREATE TYPE core.contact_type_enum AS ENUM ('email', 'phone', 'whatsapp');
CREATE TABLE core.parties (
    id uuid PRIMARY KEY, party_type text, cpf_cnpj text, full_name text, normalized_name text, sex char(1),
    birth_date date, mother_name text, enriched bool DEFAULT false, created_at timestamptz, updated_at timestamptz
);
CREATE INDEX idx_parties_cpf ON core.parties (cpf_cnpj);
CREATE TABLE core.party_contacts (
    contact_id uuid PRIMARY KEY, party_id uuid REFERENCES core.parties (id), contact_type core.contact_type_enum,
    value text, is_primary bool, is_verified bool, is_whatsapp bool, source text, confidence real,
    valid_from timestamptz, valid_to timestamptz, created_at timestamptz, updated_at timestamptz,
    CONSTRAINT uq_contact UNIQUE (party_id, contact_type, value)
);
CREATE INDEX idx_contacts_value ON core.party_contacts (value);
CREATE TABLE core.party_enrichments (
    enrichment_id uuid PRIMARY KEY, party_id uuid UNIQUE REFERENCES core.parties (id), provider text,
    raw_payload jsonb, normalized_data jsonb, quality_score real, enriched_at timestamptz, created_at timestamptz
);
CREATE TABLE public.webhook_events (
    id uuid PRIMARY KEY, lead_id text, updated_at timestamptz, hook_action text, payload_raw jsonb,
    received_at timestamptz, processed_at timestamptz, status text, error_message text, created_at timestamptz,
    updated_at_ts timestamptz, CONSTRAINT uq_event UNIQUE (lead_id, updated_at)
);
"""
PARTIES = """
INSERT INTO core.parties (id, party_type, cpf_cnpj, full_name, enriched, created_at, updated_at)
SELECT md5('p' || n)::uuid, 'person', (10000000000 + n % 90000)::text, 'PESSOA ' || n, n % 3 = 0, now(), now()
FROM generate_series(1, $1::int) n;
"""
CONTACTS = """
INSERT INTO core.party_contacts (contact_id, party_id, contact_type, value, source, created_at, updated_at)
SELECT gen_random_uuid(), md5('p' || n)::uuid, CASE n % 4 WHEN 1 THEN 'email' WHEN 2 THEN 'whatsapp' ELSE 'phone' END
       ::core.contact_type_enum,
       CASE n % 4 WHEN 1 THEN 'pessoa' || n || '@example.com' WHEN 2 THEN '55119' || (60000000 + n)
                  ELSE '119' || (60000000 + n) END,
       'c2s', now(), now()
FROM generate_series(1, $1::int) n;
"""
ENRICHMENTS = """
INSERT INTO core.party_enrichments
    (enrichment_id, party_id, provider, raw_payload, normalized_data, enriched_at, created_at)
SELECT gen_random_uuid(), id, 'work_api', jsonb_build_object('DadosBasicos', jsonb_build_object('nome', full_name)),
       '{}', now() - interval '1 day', now()
FROM core.parties WHERE enriched;
"""


async def create(connection: asyncpg.Connection, rows: int) -> None:
    """Create the tables of production with ``rows`` parties and contacts."""
    await connection.execute(SCHEMA)
    await connection.execute(PARTIES, rows)
    await connection.execute(CONTACTS, rows)
    await connection.execute(ENRICHMENTS)
    await connection.execute("ANALYZE")


class ReplacedService:
    """Repeats the statements of the replaced service and measures the slowest one."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.slowest = 0.0  # seconds
        self.rounds = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat until ``stop`` is set."""
        while not stop.is_set():
            await self._round()
            self.rounds += 1

    async def _timed(self, statement: str, *arguments: object) -> Any:
        began = time.monotonic()
        value = await self._connection.fetchval(statement, *arguments)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return value

    async def _round(self) -> None:
        phone = f"55119{uuid4().int % 10**8:08}"
        event, party = uuid4(), uuid4()
        await self._timed(
            "INSERT INTO webhook_events (id, lead_id, updated_at, received_at, status) VALUES ($1, $2, now(), now(),"
            " 'processing') ON CONFLICT (lead_id, updated_at) DO NOTHING",
            event, str(event),
        )  # fmt: skip
        await self._timed(
            "SELECT e.normalized_data FROM core.party_contacts c JOIN core.parties p ON p.id = c.party_id"
            " JOIN core.party_enrichments e ON e.party_id = p.id WHERE c.value = $1 AND p.enriched",
            phone,
        )
        async with self._connection.transaction():
            await self._timed("INSERT INTO core.parties (id, full_name, enriched) VALUES ($1, 'N', true)", party)
            await self._timed(
                "INSERT INTO core.party_contacts (contact_id, party_id, contact_type, value)"
                " VALUES (gen_random_uuid(), $1, 'phone', $2)",
                party, phone,
            )  # fmt: skip
            await self._timed(
                "INSERT INTO core.party_enrichments"
                " (enrichment_id, party_id, raw_payload, normalized_data, enriched_at)"
                " VALUES (gen_random_uuid(), $1, '{}', '{}', now())",
                party,
            )
        await self._timed("UPDATE webhook_events SET status = 'completed', processed_at = now() WHERE id = $1", event)

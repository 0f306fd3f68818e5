"""Inserts rows as the replaced service wrote them: phones with 55, an answer in ``raw_payload``, ``{}`` beside it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import orjson

from stream.local.people import Someone


async def insert_legacy(url: str, enriched: Sequence[Someone], cpf_only: Sequence[Someone]) -> None:
    """Insert people into ``core``: ``enriched`` with an answer of the Work API, ``cpf_only`` as a party and a phone."""
    connection = await asyncpg.connect(url)
    try:
        for someone in [*enriched, *cpf_only]:
            party = await connection.fetchval(
                """
                INSERT INTO core.parties (id, party_type, cpf_cnpj, full_name, enriched, created_at, updated_at)
                VALUES (gen_random_uuid(), 'person', $1, $2, $3, now(), now()) RETURNING id
                """,
                someone.cpf,
                someone.name.upper(),
                someone in enriched,
            )
            await connection.execute(
                """
                INSERT INTO core.party_contacts
                    (contact_id, party_id, contact_type, value, source, created_at, updated_at)
                VALUES (gen_random_uuid(), $1, 'phone', $2, 'c2s', now(), now())
                """,
                party,
                f"55{someone.phone}",
            )
            if someone in enriched:
                await connection.execute(
                    """
                    INSERT INTO core.party_enrichments
                        (enrichment_id, party_id, provider, raw_payload, normalized_data, enriched_at, created_at)
                    VALUES (gen_random_uuid(), $1, 'work_api', $2::jsonb, '{}', now() - interval '30 days', now())
                    """,
                    party,
                    orjson.dumps({**someone.work(), "lead_id": "legacy"}).decode(),
                )
    finally:
        await connection.close()

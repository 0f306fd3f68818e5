"""What every peer does with a webhook: read it, look the person up, write the event. Plain code, as a user writes it.

The peers trust what they read: the producers have normalised phone, e-mail and key already. They check no names,
move no webhook to another partition and know no time to live.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import orjson

NAMESPACE = UUID("6f9c2f1e-53b0-5a6e-9d61-3f5c0b1e7a44")
TEXTS = ("hook_action", "name", "product")
Headers = list[tuple[str, bytes]]
Known = dict[str, Any]


def event(webhook: dict[str, Any], known: Known) -> tuple[bytes, Headers]:
    """The event's bytes and headers."""
    payload, normalised = webhook["payload"], webhook["normalised"]
    attributes = payload["attributes"]
    updated_at = datetime.fromisoformat(normalised["updated_at"])
    identity = str(uuid5(NAMESPACE, f"c2s/{payload['id']}/{updated_at.isoformat()}"))
    now = datetime.now(UTC)
    value = orjson.dumps(
        {
            "schema_version": 1,
            "event_id": identity,
            "revision": known["revision"],
            "lead": {
                "source": webhook["source"],
                "id": payload["id"],
                "updated_at": updated_at,
                "hook_action": payload.get("hook_action"),
                "name": attributes["customer"]["name"],
                "product": attributes["product"]["description"],
            },
            "contact": {
                "key": normalised["key"],
                "phone": normalised["phone"],
                "email": normalised["email"],
                "cpf": normalised["cpf"],
                "area_code_assumed": False,
            },
            "outcome": "enriched",
            "tier": "cache",
            "match": "name",
            "stale": False,
            "parked": False,
            "person": known["person"],
            "calls": {"diretrix": 0, "work": 0},
            "received_at": webhook["received_at"],
            "emitted_at": now,
        }
    )
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_type", b"contacts.enriched"),
        ("ce_source", b"/lead-stream/worker"),
        ("ce_time", now.isoformat().encode()),
    ]
    return value, headers


def partner() -> Callable[[str], Known]:
    """Stands in for the paid partner: asked for a contact that is new to a peer. A file, read before the start."""
    lines = Path(os.environ["BENCH_PEOPLE"]).read_bytes().splitlines()
    people = {one.pop("key"): one for one in map(orjson.loads, lines)}
    return people.__getitem__

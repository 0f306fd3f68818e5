"""The files that follow from the tables and the settings. ``python -m tests.generated`` writes them anew."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from producers.openapi import with_webhooks
from stream.domain.sources import SOURCES
from stream.domain.sources.lead import Source
from stream.settings import SECRET_NAMES, Settings
from tests.tables import with_tables, written

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"((?:## .+\n)?)# .+\n#([A-Z0-9_]+)=.*\n")


def openapi(text: str) -> str:
    """The document of the producers."""
    return _json(with_webhooks(json.loads(text)))


def webhooks_schema(text: str) -> str:
    """The schema of the topic ``webhooks``: known sources, and the payload of each."""
    document = json.loads(text)
    document["properties"]["source"]["enum"] = list(Source)
    document["allOf"] = [
        {
            "if": {"properties": {"source": {"const": source}}},
            "then": {"properties": {"payload": {"$ref": f"#/$defs/{source}"}}},
        }
        for source in Source
    ]
    document["$defs"] = {source.value: spec.payload_schema for source, spec in SOURCES.items()}
    return _json(document)


def events_schema(text: str) -> str:
    """The schema of the topic ``contacts.enriched``: the documented values of ``lead.source``."""
    document = json.loads(text)
    document["properties"]["lead"]["properties"]["source"]["examples"] = list(Source)
    return _json(document)


def example(text: str) -> str:
    """``.env.example``: each setting in the order of ``Settings``, under the headings that stand in the file."""
    head = text[: text.index("\n## ") + 1]
    headings = {name: heading for heading, name in _BLOCK.findall(text)}
    blocks = [f"{_heading(headings.get(name.upper(), ''))}{described(name)}\n" for name in Settings.model_fields]
    return head + "".join(blocks).removeprefix("\n")


def described(name: str) -> str:
    """The two lines of one setting."""
    field = Settings.model_fields[name]
    secret = f" (or the path of a file that holds it: {name.upper()}_FILE)" if name.upper() in SECRET_NAMES else ""
    return f"# {field.description}{secret}\n#{name.upper()}={written(field.default)}"


def _heading(heading: str) -> str:
    return f"\n{heading}" if heading else ""


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


FILES: Mapping[str, Callable[[str], str]] = {
    "producers/openapi.json": openapi,
    "stream/domain/schemas/webhooks.schema.json": webhooks_schema,
    "stream/domain/schemas/contacts.enriched.schema.json": events_schema,
    ".env.example": example,
    "docs/operations.md": with_tables,
}


if __name__ == "__main__":
    for name, generated in FILES.items():
        path = ROOT / name
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")

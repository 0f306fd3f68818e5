"""Writes the files that are generated from the tables of sources, the settings and the metrics.

``python -m scripts.generate`` writes them. With ``--check`` it writes nothing, prints the name of each stale file and
exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from producers.openapi import with_webhooks
from scripts.tables import with_tables, written
from stream.domain.sources import SOURCES
from stream.domain.sources.lead import Source
from stream.settings import SECRET_NAMES, Settings

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


def stale(root: Path) -> dict[str, str]:
    """The text that each stale file below ``root`` must have, by name; raises OSError for a file that is missing."""
    texts = {name: (root / name).read_text(encoding="utf-8") for name in FILES}
    generated = {name: FILES[name](text) for name, text in texts.items()}
    return {name: text for name, text in generated.items() if text != texts[name]}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check the files; 1 when ``--check`` finds a stale one."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate", description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    is_check = parser.parse_args(arguments).check
    found = stale(root)
    for name, text in found.items():
        print(f"{name}: stale, run `make generate`" if is_check else f"{name}: written")
        if not is_check:
            (root / name).write_text(text, encoding="utf-8")
    if not found:
        print("the generated files are fresh")
    return int(is_check and bool(found))


if __name__ == "__main__":
    sys.exit(main())

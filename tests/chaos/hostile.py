"""Records that anybody may write to ``webhooks``: invalid ones of every kind, and valid webhooks in odd forms. Seeded.

``is_dead``: whether a record must become a dead letter; otherwise it must be answered.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from stream.local.people import Someone

Headers = list[tuple[str, bytes | None]]
LARGE = 1_200_000  # bytes; what the topic just takes
RARE = 50  # a kind that costs time or room comes once in so many
DEEP = 5_000
SURROGATE = "\\ud800"
ODD_HEADERS: list[Headers] = [
    [("attempt", None), ("reroute", None), ("first-failed", None), ("ce_id", None)],
    [("attempt", b"9" * 5_000), ("first-failed", b"0001-01-01"), ("not-before", b"9999-12-31")],
    [("attempt", "٣".encode()), ("reason", b"\xff\xfe"), ("first-failed", b"9999-12-31T23:59:59-23:59")],
    [("dl-topic", b"x"), ("dl-partition", b"-7"), ("dl-offset", b"many"), ("dl-attempts", b"\x00")],
    [("", b"no name"), ("ce_id", b""), ("x" * 10_000, b"y"), ("é\x00\n", b"\n" * 100)],
    [("same", b"1")] * 200,
]


class Hostile(NamedTuple):
    """One hostile record. ``partition``: None leaves it to the key."""

    kind: str
    is_dead: bool
    value: bytes | None
    key: bytes | None = b"key"
    headers: Headers = []
    partition: int | None = None


class Writer:
    """Creates hostile records about ``people``. ``partitions``: the number of the topic's partitions."""

    def __init__(self, chance: random.Random, people: list[Someone], partitions: int) -> None:
        self._chance = chance
        self._people = people
        self._partitions = partitions
        self._number = 0

    def messages(self, count: int) -> Iterator[Hostile]:
        """``count`` records, with every kind if ``count`` is large enough."""
        common = [kind for kind in KINDS if kind not in EXPENSIVE]
        for number in range(count):
            kinds = EXPENSIVE if number % RARE == RARE - 1 else common
            kind = kinds[number // RARE % len(kinds)] if kinds is EXPENSIVE else kinds[number % len(kinds)]
            yield KINDS[kind](self)._replace(kind=kind)

    def webhook(self, **changes: Any) -> dict[str, Any]:
        """A valid webhook of somebody, as a value to be spoiled."""
        self._number += 1
        someone = self._chance.choice(self._people)
        customer = {"name": someone.name, "phone": someone.phone, "email": someone.email}
        attributes = {"updated_at": "2026-01-31T12:00:00Z", "customer": customer, **changes.pop("attributes", {})}
        payload = {"id": f"hostile-{self._number}", "attributes": attributes, **changes.pop("payload", {})}
        now = datetime.now(UTC).isoformat()
        return {"source": "c2s", "received_at": now, "payload": payload, **changes}

    def invalid(self, value: bytes | None, **parts: Any) -> Hostile:
        """A record that can't be read."""
        return Hostile("", is_dead=True, value=value, **{"partition": self._anywhere(), **parts})

    def valid(self, value: Any = None, **parts: Any) -> Hostile:
        """A record that can be read, mostly on a partition that is not its contact's."""
        data = value if isinstance(value, bytes) else json.dumps(value or self.webhook()).encode()
        return Hostile("", is_dead=False, value=data, **{"partition": self._anywhere(), **parts})

    def _anywhere(self) -> int:
        return self._chance.randrange(self._partitions)

    def spoiled(self, **changes: Any) -> Hostile:
        """A webhook with an invalid part."""
        return self.invalid(json.dumps(self.webhook(**changes)).encode())

    def put_in(self, inside: str, **parts: Any) -> Hostile:
        """A valid webhook with this JSON in a field that is not read."""
        text = json.dumps(self.webhook(payload={"future": "HERE"}))
        return self.valid(text.replace('"HERE"', inside).encode(), **parts)

    def noise(self, size: int) -> bytes:
        """Bytes that are not JSON."""
        return b"\xff" + self._chance.randbytes(size)

    def headers(self) -> Headers:
        """Headers without meaning, or that imitate ours."""
        return self._chance.choice(ODD_HEADERS)


KINDS: dict[str, Callable[[Writer], Hostile]] = {
    "noise": lambda write: write.invalid(write.noise(40)),
    "empty": lambda write: write.invalid(b""),
    "tombstone": lambda write: write.invalid(None),
    "tombstone with headers": lambda write: write.invalid(None, headers=write.headers()),
    "half": lambda write: write.invalid(json.dumps(write.webhook()).encode()[:-9]),
    "two": lambda write: write.invalid(json.dumps(write.webhook()).encode() * 2),
    "text": lambda write: write.invalid(b'"+5511987654321"'),
    "number": lambda write: write.invalid(b"1" * 400),
    "array": lambda write: write.invalid(b"[]"),
    "null": lambda write: write.invalid(b"null"),
    "nested": lambda write: write.invalid(b"[" * DEEP + b"]" * DEEP),
    "nested objects": lambda write: write.invalid(b'{"source":' * DEEP + b"1" + b"}" * DEEP),
    "surrogate": lambda write: write.invalid(json.dumps(write.webhook()).replace("hostile-", SURROGATE, 1).encode()),
    "raw NUL": lambda write: write.invalid(json.dumps(write.webhook()).encode() + b"\x00"),
    "not UTF-8": lambda write: write.invalid(json.dumps(write.webhook()).encode().replace(b"hostile-", b"\xe9", 1)),
    "no source": lambda write: write.spoiled(source=None),
    "other source": lambda write: write.spoiled(source="facebook"),
    "source is an object": lambda write: write.spoiled(source={"c2s": 1}),
    "payload is text": lambda write: write.spoiled(payload={"id": []}),
    "no id": lambda write: write.spoiled(payload={"id": None}),
    "id is a NUL": lambda write: write.spoiled(payload={"id": "a\x00b"}),
    "long id": lambda write: write.spoiled(payload={"id": "x" * 257}),
    "no time": lambda write: write.spoiled(attributes={"updated_at": None}),
    "no such time": lambda write: write.spoiled(attributes={"updated_at": "2026-02-31T25:61:00Z"}),
    "time is a number": lambda write: write.spoiled(attributes={"updated_at": 10**30}),
    "received at no time": lambda write: write.spoiled(received_at="yesterday"),
    "customer is a list": lambda write: write.spoiled(attributes={"customer": ["Ana"]}),
    "noise with headers": lambda write: write.invalid(write.noise(10), headers=write.headers()),
    "noise without a key": lambda write: write.invalid(write.noise(10), key=None),
    "good with headers": lambda write: write.valid(headers=write.headers()),
    "good without a key": lambda write: write.valid(key=None),
    "good with an odd key": lambda write: write.valid(key=write.noise(200)),
    "beyond 64 bits": lambda write: write.put_in(f"[{'9' * 30}, -{'9' * 300}, 1.5e300]"),
    "beyond a double": lambda write: write.put_in("1e999"),
    "beyond a double where it is read": lambda write: write.invalid(
        json.dumps(write.webhook()).encode().replace(b'"updated_at": "2026-01-31T12:00:00Z"', b'"updated_at": 1e999')
    ),
    "NUL within": lambda write: write.put_in(r'"a\u0000b"'),
    "NUL in the name": lambda write: write.valid(
        json.dumps(write.webhook()).encode().replace(b'"name": "', rb'"name": "\u0000')
    ),
    "nested within": lambda write: write.put_in("[" * 90 + "]" * 90),
    "phone is an object": lambda write: write.valid(write.webhook(attributes={"customer": {"phone": {"n": 1}}})),
    "nobody": lambda write: write.valid(write.webhook(attributes={"customer": {}})),
    "large": lambda write: write.put_in(json.dumps("x" * LARGE)),
    "large noise": lambda write: write.invalid(write.noise(LARGE)),
    "large key": lambda write: write.invalid(write.noise(10), key=write.noise(LARGE)),
}
EXPENSIVE = ["large", "large noise", "large key"]

"""Reads fields of a payload, for the readers of all sources. Each error names the field at fault."""

from __future__ import annotations

from typing import Any

from stream.domain.errors import PoisonError
from stream.domain.text import is_id

MAX_ID_CHARS = 256
ID_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": "\\S"}, {"type": "integer"}]
}


def required_object(value: object, path: str) -> dict[str, Any]:
    """An object. Raises PoisonError."""
    if not isinstance(value, dict):
        raise PoisonError("an object is required", path=path)
    return value


def optional_object(value: object, path: str) -> dict[str, Any]:
    """An object that may be missing; some languages write an empty one as ``[]``. Raises PoisonError."""
    return required_object(value, path) if value is not None and value != [] else {}


def required_id(value: object, path: str) -> str:
    """An id, given as text or a whole number, that is safe as a segment of a URL. Raises PoisonError."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS or not is_id(value):
        raise PoisonError(f"an id of 1 to {MAX_ID_CHARS} characters is required, no path and all printable", path=path)
    return value

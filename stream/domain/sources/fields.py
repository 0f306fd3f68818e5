"""What the readers of all sources need of a payload's fields. Each function names the field at fault."""

from __future__ import annotations

from typing import Any

from stream.domain.errors import PoisonError
from stream.domain.text import is_id

LONGEST_ID = 256  # characters
ID_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": "\\S"}, {"type": "integer"}]
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
    """An id, text or a whole number, that is safe as a segment of a URL. Raises PoisonError."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > LONGEST_ID or not is_id(value):
        raise PoisonError(f"an id of 1 to {LONGEST_ID} characters is required, no path and all printable", path=path)
    return value

"""Masks the fields of a log line: every identifier, and every secret of the settings."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from stream.logs.masking import is_secret_key, without_emails, without_numbers, without_secrets
from stream.settings import Settings

MIN_SECRET_CHARACTERS = 4  # masking shorter secrets would mask ordinary words
MIN_IDENTIFIER = 10**9  # a larger integer may be a phone or a CPF, except in COUNT_FIELDS
COUNT_FIELDS = frozenset(
    {"offset", "lag", "bytes", "watermark", "position", "entries", "records", "epoch", "epoch_ms", "nanoseconds"}
)
MAX_CACHED_TEXTS = 8_192
MAX_CACHED_CHARACTERS = 200  # of a text whose masked form is cached

_TEN_DIGITS = re.compile(r"\d{10}")

_secrets: set[str] = set()


def mask(text: str) -> str:
    """``text`` with every identifier and secret masked."""
    return _mask_cached(text) if len(text) <= MAX_CACHED_CHARACTERS else mask_uncached(text)


def remember_secrets(settings: Settings) -> None:
    """Mask the secrets of ``settings`` from now on."""
    _secrets.update(_spellings(secret for secret in _secret_values(settings) if len(secret) >= MIN_SECRET_CHARACTERS))
    _mask_cached.cache_clear()
    _secrets_pattern.cache_clear()


@lru_cache(maxsize=MAX_CACHED_TEXTS)
def _mask_cached(text: str) -> str:
    return mask_uncached(text)


def mask_uncached(text: str) -> str:
    """``mask`` without the cache."""
    return _without_identifiers(_secrets_pattern().sub("***", text) if has_secret(text) else text)


def has_secret(text: str) -> bool:
    """Whether a text contains one of the secrets."""
    return any(map(text.__contains__, _secrets))


def _without_identifiers(text: str) -> str:
    if text.isascii() and text.isalnum() and not _TEN_DIGITS.search(text):
        return text  # an identifier has ten digits in a row, or a sign between its parts
    return without_numbers(without_emails(without_secrets(text)))


@lru_cache(maxsize=1)
def _secrets_pattern() -> re.Pattern[str]:
    return re.compile("|".join(re.escape(secret) for secret in sorted(_secrets, key=len, reverse=True)))


def _spellings(secrets: Iterable[str]) -> Iterable[str]:
    """Each secret as it is and URL-encoded; for ``user:password`` also the password alone and as HTTP Basic."""
    for secret in secrets:
        yield from {secret, quote(secret, safe=""), quote(secret)}
        password = secret.partition(":")[2]
        if len(password) >= MIN_SECRET_CHARACTERS:
            yield from {password, b64encode(secret.encode()).decode()}


def _secret_values(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for secret in value if isinstance(value, tuple) else (value,):
            if isinstance(secret, SecretStr):
                yield secret.get_secret_value()


def mask_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: mask every field except those that structlog adds."""
    for key, value in event.items():
        if key not in {"timestamp", "level", "process"} and key[0] != "_":
            event[key] = "***" if is_secret_key(key) else _mask_value(key, value)
    return event


def _mask_value(key: object, value: Any) -> Any:
    if isinstance(value, str):
        return mask(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < MIN_IDENTIFIER or key in COUNT_FIELDS else _mask_number(value)
    if isinstance(value, dict):
        return {
            mask(str(name)): "***" if is_secret_key(str(name)) else _mask_value(name, one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        masked = [_mask_value(key, one) for one in value]
        return masked if key in COUNT_FIELDS else _mask_list(masked)
    return mask(str(value))


def _mask_number(value: float) -> float | str:
    """A number, masked if it is a phone or a CPF. A number with a fraction is neither."""
    if isinstance(value, float) and not value.is_integer():
        return value
    text = str(int(value))
    masked = mask(text)
    return value if masked == text else masked


def _mask_list(values: list[Any]) -> list[Any]:
    """A list, masked if its values together are a phone or a CPF."""
    if len(values) == 1 or not all(isinstance(one, int | str) for one in values):
        return values
    text = str([one if isinstance(one, int) else str(one) for one in values])
    return values if mask(text) == text else ["***"]

"""Masks secrets after a name that announces one: in headers, query strings, JSON, Python's reprs and addresses."""

from __future__ import annotations

import re
import string
from functools import lru_cache

# The patterns search the text in lower case, which is far faster than a search that ignores case.
_STEM = re.compile("token|pass|pwd|senha|secret|credential|authorization|cookie|key|auth=|sig=|signature=")
_NAME = (
    r"(?:token|passw(?:or)?d|passphrase|pwd|senha|secret|credentials?|authorization"
    r"|(?:api|google|google[\s_-]?ads|access|private|secret|webhook|signing)[\s_-]?key)\d{0,2}"
)
_QUOTE = r"(?:\\{0,4}[\"']|&(?:quot|apos|\#3[49]);|%(?:25){0,3}2[27])"
_IS = r"(?:=>|[=:]|%(?:25){0,3}3[ad])"
_SCHEME = r"(?:(?:bearer|basic|digest|token|negotiate|apikey)(?:[\s+]|%20)+)"
_VALUE = re.compile(
    rf"""
    (?:{_NAME} | [?&](?:key|auth|sig|signature))
    (?: {_QUOTE}?\s{{0,4}}{_IS}\s{{0,4}}(?:b?(?P<quote>{_QUOTE}))?
      | {_QUOTE}\s?,\s?b?(?P<listed>{_QUOTE}) )
    {_SCHEME}?
    (?P<value>
        (?(quote)(?:(?!(?P=quote))(?:\\.|.))++ | (?!))
      | (?(listed)(?:(?!(?P=listed))(?:\\.|.))++ | (?!))
      | [^\s&"',}}]++ (?:,[^\s&"',}}=:]++(?=[\s&"',}}]|$))*+
    )
    """,
    re.VERBOSE,
)
_COOKIES = re.compile(r"cookie[\"']?\s{0,4}[=:,]\s{0,4}b?[\"']?(?P<value>[^\"'\n]++)")
_BEARER = re.compile(r"\bbearer(?:\s|%20|\+)(?P<value>[\w.~+/=-]{12,}+)")
_USER_INFO = re.compile(r"(://[^\s:/?#]*+:)[^\s/?#\"'<>]*@")
_ODD_USER_INFO = re.compile(r"(://[^:/@\s]*+:)[^@\s]{1,256}@")  # with a sign in the password that should be encoded

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
# fmt: off
_KEY_ENDS = (
    "token", "password", "passwd", "passphrase", "pwd", "senha", "secret", "credential", "credentials", "authorization",
    "cookie", "apikey", "googlekey", "googleadskey", "accesskey", "privatekey", "secretkey", "webhookkey", "signingkey",
)
# fmt: on


def without_secrets(text: str) -> str:
    """``text`` without the values of named secrets and without the passwords of addresses."""
    if "://" in text:
        text = _ODD_USER_INFO.sub(r"\1***@", _USER_INFO.sub(r"\1***@", text))
    if ("=" in text or ":" in text or "," in text or "%" in text) and _STEM.search(_small(text)):
        text = _without_values(_COOKIES, _without_values(_VALUE, text))
    if "earer" in text or "EARER" in text:
        text = _without_values(_BEARER, text)
    return text


@lru_cache(maxsize=1_024)
def is_secret_key(key: str) -> bool:
    """Whether a field of this name holds a secret, whatever its case and separators."""
    return "".join(filter(str.isalnum, key.lower())).endswith(_KEY_ENDS)


def _without_values(pattern: re.Pattern[str], text: str) -> str:
    pieces: list[str] = []
    at = 0
    for found in pattern.finditer(_small(text)):
        start, end = found.span("value")
        pieces += text[at:start], "***"
        at = end
    return "".join([*pieces, text[at:]]) if pieces else text


def _small(text: str) -> str:
    """The text in lower case, with the same length. ``str.lower`` changes the length for some letters."""
    return text.lower() if text.isascii() else text.translate(_SMALL)

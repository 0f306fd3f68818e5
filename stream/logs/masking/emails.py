"""Masks e-mails: every word with something before and after an "@", however the "@" is encoded."""

from __future__ import annotations

import re

from stream.logs.masking.shadow import replaced, shadow

# _WORD: one word, which may have an "@" in it. _SPACED_AT: an e-mail with blanks around its "@".
_WORD = re.compile(r"[^\s\"'<>()\[\]{},;:/=?&]+")
_AT = re.compile(r"@|%(?:25)*40|\\+u0040", re.IGNORECASE)
_QUOTED_LOCAL = re.compile(r"\"[^\"\n]{1,64}\"(?=@|%(?:25)*40)")
_SPACED_AT = re.compile(
    r"(?<!\S)[^\s\"'<>()\[\]{},;:/=?&@]{1,64}(?:\s{1,3}@\s{0,3}|@\s{1,3})(?:[\w-]{1,63}\s?\.\s?){1,8}\w{2,63}"
)
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|\\+(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_LETTER = re.compile(r"[^\W\d_]")
_MASKED_EMAIL = re.compile(r"[^@*]?\*{3}@[^@*]?\*{3}")


def without_emails(text: str) -> str:
    """``text`` without e-mails."""
    if not _AT.search(shadow(text)):
        return text
    text = replaced(_SPACED_AT, lambda _: "***@***", text)
    text = replaced(_QUOTED_LOCAL, lambda _: "quoted", text)
    return replaced(_WORD, _without_email, text)


def _without_email(found: re.Match[str]) -> str | None:
    word = found[0]
    at = _AT.search(word)
    if at is None or _MASKED_EMAIL.fullmatch(word):
        return None
    local, domain = word[: at.start()], word[at.end() :]
    if _is_number(_ESCAPED.sub("", local), _ESCAPED.sub("", domain)):
        return None
    is_password = not local.strip("*") and local  # a URL's password, masked before, in front of the host
    return "***@***" if local and domain and not is_password else None


def _is_number(local: str, domain: str) -> bool:
    """Whether it is not an e-mail but a partition's offset, as in webhooks/3@10231, or a phone with a sign in it."""
    if _LETTER.search(domain) and ("." in domain or not domain[0].isdigit()):
        return False
    return "." not in domain or not _LETTER.search(local)

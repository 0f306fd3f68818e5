"""Verifies the shared secrets of webhooks, in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import blake2b

from pydantic import SecretStr

from producers.presentation import Presentation, guessable_part, is_well_formed
from stream.settings import DEMO_SECRETS

MIN_SECRET_CHARACTERS = 16  # a shorter secret is warned of; the next release will not start with it


class SharedSecrets:
    """The valid secrets of one route: several during a rotation."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        # Digests have one length: the time of a comparison reveals nothing, not even the length of a secret.
        self._digests = tuple(_digest(secret.get_secret_value()) for secret in secrets)

    def verify(self, given: object) -> bool:
        """Whether ``given`` is one of the secrets, or none is configured. Compares all of them in every case."""
        if not self._digests:
            return True
        digest = _digest(given if isinstance(given, str) else "")
        is_known = False
        for known in self._digests:
            is_known |= hmac.compare_digest(digest, known)
        return is_known


def has_short_secret(secrets: Iterable[SecretStr], presentation: Presentation) -> bool:
    """Whether a secret, or the part of it that must be guessed, is too short."""
    return any(
        len(guessable_part(presentation, secret.get_secret_value())) < MIN_SECRET_CHARACTERS for secret in secrets
    )


def has_demo_secret(secrets: Iterable[SecretStr], presentation: Presentation) -> bool:
    """Whether a secret, or the part of it that must be guessed, is one of the demo's, which are public."""
    public = {one for secret in DEMO_SECRETS for one in (secret, guessable_part(presentation, secret)) if one}
    given = [secret.get_secret_value() for secret in secrets]
    return any(one in public or guessable_part(presentation, one) in public for one in given)


def is_malformed(secrets: Iterable[SecretStr], presentation: Presentation) -> bool:
    """Whether no sender could present one of the secrets."""
    return not all(is_well_formed(presentation, secret.get_secret_value()) for secret in secrets)


def _digest(text: str) -> bytes:
    # Invalid bytes of a header arrive as lone surrogates. Such a token is wrong, but must not raise.
    # blake2b is Python's own code. OpenSSL would look the algorithm up each time, which takes longer than the digest.
    return blake2b(text.encode("utf-8", "surrogatepass")).digest()

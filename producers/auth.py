"""Is the sender who it says it is? Shared secrets, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import blake2b

from pydantic import SecretStr

from producers.presentation import Presentation, guessable_part, is_well_formed
from stream.settings import DEMO_SECRETS

SHORTEST = 16  # characters; the next release does not start with a shorter one


class SharedSecrets:
    """The secrets of one route; several are valid during a rotation."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        # Digests have one length, so that not even a secret's length shows in the time of a comparison.
        self._digests = tuple(_digest(secret.get_secret_value()) for secret in secrets)

    def verify(self, given: object) -> bool:
        """Whether ``given`` is one of the secrets, or none is configured. Every one is compared, whatever is found."""
        if not self._digests:
            return True
        digest = _digest(given if isinstance(given, str) else "")
        is_known = False
        for known in self._digests:
            is_known |= hmac.compare_digest(digest, known)
        return is_known


def has_short(secrets: Iterable[SecretStr], how: Presentation) -> bool:
    """Whether a secret could be guessed, presented as it is."""
    return any(len(guessable_part(how, secret.get_secret_value())) < SHORTEST for secret in secrets)


def has_demo(secrets: Iterable[SecretStr], how: Presentation) -> bool:
    """Whether a secret, or the part of it that must be guessed, stands in this project's source for all to read."""
    public = {one for secret in DEMO_SECRETS for one in (secret, guessable_part(how, secret)) if one}
    given = [secret.get_secret_value() for secret in secrets]
    return any(one in public or guessable_part(how, one) in public for one in given)


def is_malformed(secrets: Iterable[SecretStr], how: Presentation) -> bool:
    """Whether a secret could never be presented."""
    return not all(is_well_formed(how, secret.get_secret_value()) for secret in secrets)


def _digest(text: str) -> bytes:
    # A header's stray bytes arrive as lone surrogates: such a token is wrong, not an error.
    # Python's own code: OpenSSL looks the algorithm up anew each time, which takes longer than the digest.
    return blake2b(text.encode("utf-8", "surrogatepass")).digest()

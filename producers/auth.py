"""Is the sender who it says it is? Shared secrets, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import blake2b

from pydantic import SecretStr

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


def has_short(secrets: Iterable[SecretStr]) -> bool:
    """Whether a secret could be guessed."""
    return any(len(secret.get_secret_value()) < SHORTEST for secret in secrets)


def has_demo(secrets: Iterable[SecretStr]) -> bool:
    """Whether a secret stands in this project's source, for everybody to read."""
    return any(secret.get_secret_value() in DEMO_SECRETS for secret in secrets)


def _digest(text: str) -> bytes:
    # A header's stray bytes arrive as lone surrogates: such a token is wrong, not an error.
    # Python's own code: OpenSSL looks the algorithm up anew each time, which takes longer than the digest.
    return blake2b(text.encode("utf-8", "surrogatepass")).digest()

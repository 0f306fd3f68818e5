"""Is the sender who it says it is? Shared secrets, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import blake2b

from pydantic import SecretStr


class Lock:
    """The secrets of one route; several are valid during a rotation."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        # Digests have one length, so that not even a secret's length shows in the time of a comparison.
        self._digests = tuple(_digest(secret.get_secret_value()) for secret in secrets)

    @property
    def is_open(self) -> bool:
        """Whether no secret is configured and everybody is let in."""
        return not self._digests

    def admits(self, given: object) -> bool:
        """Whether ``given`` is one of the secrets. Every secret is compared, whatever the ones before it said."""
        if self.is_open:
            return True
        digest = _digest(given if isinstance(given, str) else "")
        is_known = False
        for known in self._digests:
            is_known |= hmac.compare_digest(digest, known)
        return is_known


def _digest(text: str) -> bytes:
    # A header's stray bytes arrive as lone surrogates: such a token is wrong, not an error.
    # Python's own code: OpenSSL looks the algorithm up anew each time, which takes longer than the digest.
    return blake2b(text.encode("utf-8", "surrogatepass")).digest()

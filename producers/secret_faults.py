"""Which webhook secrets stop the start, and which are warned of."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SecretStr

from producers.auth import has_demo, has_short, is_malformed
from producers.sources import ENDPOINTS
from producers.sources.endpoint import Endpoint
from stream.settings import Settings


def secret_faults(settings: Settings, unread: Collection[str]) -> list[str]:
    """Why the webhook secrets stop the start; ``unread``: variables of which is said already what is wrong."""
    missing = [_name(one) for one in without_secret(settings) if one.is_required and _name(one) not in unread]
    malformed = [_name(one) for one in ENDPOINTS.values() if is_malformed(_secrets(settings, one), one.presentation)]
    demo = [_name(one) for one in ENDPOINTS.values() if has_demo(_secrets(settings, one), one.presentation)]
    faults = []
    if missing and not settings.allow_unauthenticated:
        faults += [
            f"no secret is configured: set {' and '.join(missing)}.",
            "ALLOW_UNAUTHENTICATED=true serves without (anybody could then post leads).",
        ]
    if malformed:
        faults.append(f"must be user:password, several separated by commas: {' and '.join(malformed)}.")
    if demo and not settings.allow_demo_secrets:
        faults += [
            f"everybody can read the demo's secret in {' and '.join(demo)}: set another one.",
            "ALLOW_DEMO_SECRETS=true accepts it, for a system that nobody else reaches.",
        ]
    return faults


def without_secret(settings: Settings) -> list[Endpoint]:
    """The endpoints for which no secret is configured."""
    return [one for one in ENDPOINTS.values() if not _secrets(settings, one)]


def short_secrets(settings: Settings) -> list[str]:
    """The variables that hold a secret which could be guessed."""
    return [_name(one) for one in ENDPOINTS.values() if has_short(_secrets(settings, one), one.presentation)]


def _name(endpoint: Endpoint) -> str:
    return endpoint.setting.upper()


def _secrets(settings: Settings, endpoint: Endpoint) -> tuple[SecretStr, ...]:
    secrets: tuple[SecretStr, ...] = getattr(settings, endpoint.setting)
    return secrets

"""Checks the webhook secrets: faults that stop the start, and short secrets that cause a warning."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SecretStr

from producers.auth import has_demo_secret, has_short_secret, is_malformed
from producers.sources import ENDPOINTS
from producers.sources.endpoint import Endpoint
from stream.settings import Settings


def secret_faults(settings: Settings, unread: Collection[str]) -> list[str]:
    """The faults of webhook secrets that stop the start. ``unread``: variables whose fault is reported already."""
    missing = [
        _variable(one) for one in endpoints_without_secret(settings) if one.is_required and _variable(one) not in unread
    ]
    malformed = [
        _variable(one) for one in ENDPOINTS.values() if is_malformed(_secrets(settings, one), one.presentation)
    ]
    demo = [_variable(one) for one in ENDPOINTS.values() if has_demo_secret(_secrets(settings, one), one.presentation)]
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


def endpoints_without_secret(settings: Settings) -> list[Endpoint]:
    """The endpoints for which no secret is configured."""
    return [one for one in ENDPOINTS.values() if not _secrets(settings, one)]


def short_secrets(settings: Settings) -> list[str]:
    """The variables that hold a secret which is too short."""
    return [_variable(one) for one in ENDPOINTS.values() if has_short_secret(_secrets(settings, one), one.presentation)]


def _variable(endpoint: Endpoint) -> str:
    return endpoint.setting.upper()


def _secrets(settings: Settings, endpoint: Endpoint) -> tuple[SecretStr, ...]:
    secrets: tuple[SecretStr, ...] = getattr(settings, endpoint.setting)
    return secrets

"""The producers: secrets of the webhooks, addresses, limits."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from stream.settings.base import SettingsBase
from stream.settings.types import Duration, Networks, Secrets

# Webhook secrets of `demo` and `local`; they are public.
DEMO_C2S_TOKEN = "demo-webhook-token"  # noqa: S105 - public, refused unless ALLOW_DEMO_SECRETS is set
DEMO_GOOGLE_KEY = "demo-google-ads-key"
DEMO_WEBHOOK_SECRETS = {  # by setting
    "c2s_webhook_token": DEMO_C2S_TOKEN,
    "google_ads_key": DEMO_GOOGLE_KEY,
    "grupo_olx_credentials": "grupo-olx:demo-grupo-olx-password",
}
DEMO_SECRETS = frozenset({*DEMO_WEBHOOK_SECRETS.values(), "demo-google-key"})  # the last one was used until 0.1


class ProducerSettings(SettingsBase):
    """The producers: secrets of the webhooks, addresses, limits."""

    c2s_webhook_token: Secrets = Field(
        (), description="Secret of the C2S webhook; two values are both valid, for a rotation"
    )
    google_ads_key: Secrets = Field(
        (), description="Secret of the Google Ads webhook; two values are both valid, for a rotation"
    )
    grupo_olx_credentials: Secrets = Field(
        (),
        description="user:password of the Grupo OLX webhook; two values are both valid, for a rotation; unset: 404",
    )
    allow_unauthenticated: bool = Field(default=False, description="Serve webhook routes that have no secret")
    allow_demo_secrets: bool = Field(
        default=False, description="Accept the webhook secrets of the demo, which are public"
    )
    producer_host: str = Field("127.0.0.1", description="Address on which the producers receive webhooks")
    producer_port: int = Field(8080, ge=0, le=65535, description="Port on which the producers receive webhooks")
    producer_internal_host: str = Field(
        "127.0.0.1", description="Address of the producers' internal pages: /readyz, /metrics, /openapi.json"
    )
    producer_internal_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the producers' internal pages; unset: PRODUCER_PORT + 1; 0: any free port",
    )
    trusted_proxies: Networks = Field(
        (), description="Addresses and networks of reverse proxies whose X-Forwarded-For header is used"
    )
    producer_publish_timeout: Duration = Field(
        timedelta(seconds=10), description="Time limit for the broker's acknowledgement, after which the answer is 503"
    )
    producer_max_connections: int = Field(
        1_000, ge=1, description="Maximum concurrent HTTP connections per process; further ones get 503"
    )
    producer_max_connections_per_address: int = Field(
        100,
        ge=1,
        description="Maximum concurrent HTTP connections from one remote address; TRUSTED_PROXIES are exempt",
    )
    producer_duplicate_window: int = Field(
        100_000, ge=0, description="Number of recent deliveries that are remembered to recognise duplicates"
    )

    @property
    def internal_port(self) -> int:
        """The port of the producers' internal pages; 0: any free one."""
        if self.producer_internal_port is not None:
            return self.producer_internal_port
        return self.producer_port and self.producer_port % 65_535 + 1

"""The worker, and what all commands share: shutdown and log."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from stream.domain.dead_letter_limit import DlqLimit
from stream.settings.base import SettingsBase
from stream.settings.types import AreaCode, Delays, Duration, Names


class WorkerSettings(SettingsBase):
    """The worker, and what all commands share: shutdown and log."""

    stream_web_host: str = Field("127.0.0.1", description="Address on which the worker serves its pages")
    stream_web_port: int = Field(6066, ge=0, le=65535, description="Port of the worker's pages; 0: any free port")
    workers: int = Field(1, ge=1, description="Number of workers; each takes its share of the limits on partner calls")
    worker_instance_id: str = Field(
        "", description="Stable name of this worker, unique among the workers (Kafka static membership)"
    )
    cache_ttl_known: Duration = Field(
        timedelta(hours=24), description="How long a known person is answered from the table"
    )
    cache_ttl_unknown: Duration = Field(
        timedelta(hours=1), description="How long an unknown contact is not looked up again"
    )
    cache_capacity: int = Field(50_000, ge=1, description="Maximum table entries per worker")
    work_unknown_for: Duration = Field(
        timedelta(days=7), description="How long a CPF that the Work API does not know is not looked up again"
    )
    enrichment_max_age: Duration = Field(
        timedelta(days=180), description="Age at which the data of a stored person is fetched again"
    )
    contact_denylist: Names = Field(
        (), description="Phones and e-mails that identify nobody, such as the company's own; comma-separated"
    )
    default_area_code: AreaCode = Field(
        "", description="Area code to assume for phones that have none; unset: these phones are ignored"
    )
    lookup_slots: int = Field(128, ge=1, description="Maximum concurrent look-ups per worker, one per contact")
    lookup_queue: int = Field(
        5_000,
        ge=1,
        description="Maximum contacts per worker that are looked up or wait for a slot; further ones are parked",
    )
    lookup_deadline: Duration = Field(timedelta(seconds=30), description="Time limit of one look-up, from its start")
    lookup_queue_limit: Duration = Field(
        timedelta(seconds=120), description="Maximum wait for a look-up slot, after which the webhook is parked"
    )
    max_unfinished_span: int = Field(
        20_000,
        ge=1_000,
        description="Maximum webhooks of a partition from the oldest that is not completed to the newest fetched",
    )
    retry_delays: Delays = Field(
        (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)),
        description="Delays before a parked webhook is retried: after the first failure, the second, all later ones",
    )
    retry_max_age: Duration = Field(
        timedelta(hours=24),
        le=timedelta(days=6),
        description="Age at which a parked webhook becomes a dead letter; at most 6d",
    )
    fuse_in_a_row: int = Field(
        100, ge=1, description="Number of consecutive dead letters that stops the worker or the CRM sync"
    )
    fuse_share: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Share of dead letters in a minute's records above which the process stops; 1: never",
    )
    fuse_minimum: int = Field(
        100, ge=1, description="Number of dead letters in a minute below which FUSE_SHARE has no effect"
    )
    shutdown_grace: Duration = Field(timedelta(seconds=25), description="Time to finish work in flight after SIGTERM")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Minimum level of log lines")
    log_json: bool = Field(default=False, description="Write each log line as a JSON object")
    journal: bool = Field(
        default=False, description="Write public.webhook_events too; keep it off while the replaced service runs"
    )

    @property
    def fuse(self) -> DlqLimit:
        """When dead letters stop the process."""
        return DlqLimit(self.fuse_in_a_row, self.fuse_share, self.fuse_minimum)

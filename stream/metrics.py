"""Every metric with its name, help text and labels. No label contains an identifier."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

ANSWERED = Counter("leads_answered_total", "Webhooks answered, by outcome and tier", ["outcome", "tier"])
PARKED = Counter("leads_parked_total", "Webhooks parked, by reason", ["reason"])
DEAD = Counter("leads_dead_total", "Dead letters written, by stage and error class", ["stage", "error"])
FUSE_BLOWN = Gauge("leads_fuse_blown", "1 when the process stops because of too many dead letters")
REROUTED = Counter(
    "leads_rerouted_total", "Webhooks published again because they were not on their contact's partition"
)
PARTNER_CALLS = Counter("leads_partner_calls_total", "Calls to partners, by partner and result", ["partner", "result"])
PARTNER_SECONDS = Histogram(
    "leads_partner_seconds",
    "Duration of a partner call in seconds",
    ["partner"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30),
)
PARTNER_MISMATCH = Counter(
    "leads_partner_mismatch_total",
    "Records refused because they describe another person than requested",
    ["partner", "where"],
)
BREAKER_OPEN = Gauge("leads_breaker_open", "1 while a partner's breaker is open", ["partner"])
PARTNER_REFUSES = Gauge(
    "leads_partner_refuses", "1 while a partner refuses the credentials or the quota is spent", ["partner"]
)
LOOKUPS_RUNNING = Gauge("leads_lookups_running", "Look-ups in progress, at most one for a contact")
LOOKUPS_WAITING = Gauge("leads_lookups_waiting", "Webhooks whose contact is looked up or waits for a slot")
TABLE_ENTRIES = Gauge("leads_table_entries", "Entries in the table")
UNFINISHED = Gauge("leads_unfinished", "Webhooks that were read and are not completed")
OPEN_TRANSACTION = Gauge(
    "leads_open_transaction_seconds", "Seconds for which an open transaction has blocked a partition; 0 if none does"
)
PENDING_WRITES = Gauge("leads_pending_writes", "Paid answers and ledger entries that wait for the database")
PENDING_WRITES_DROPPED = Counter(
    "leads_pending_writes_dropped_total", "Paid answers and ledger entries that could not be stored and were given up"
)
TASKS = Gauge("leads_tasks", "asyncio tasks of the worker")
TABLE_WRITES_DROPPED = Counter(
    "leads_table_writes_dropped_total", "Changelog records dropped because their queue was full"
)
RECEIVED = Counter(
    "leads_webhooks_received_total", "Webhooks received over HTTP, by source and result", ["source", "result"]
)
RECEIVE_SECONDS = Histogram(
    "leads_receive_seconds",
    "Seconds from a webhook's arrival over HTTP to its answer",
    ["source"],
    buckets=(0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 10),
)
CONSUMER_LAG = Gauge("leads_consumer_lag", "Records that the consumer group has not completed, by group", ["group"])
CONSUMER_OLDEST = Gauge(
    "leads_consumer_oldest_seconds",
    "Age in seconds of the oldest record that the group has read and not completed",
    ["group"],
)
CRM_WRITES = Counter("leads_crm_writes_total", "Writes to the CRM, by kind and result", ["kind", "result"])


@lru_cache(maxsize=64)
def answered(outcome: str, tier: str | None) -> Counter:
    """The counter of one outcome and tier, cached because ``labels`` takes longer than counting."""
    return ANSWERED.labels(outcome, tier or "none")

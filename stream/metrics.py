"""Every metric, declared once: name, help, labels. No label ever holds an identifier."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

ANSWERED = Counter("leads_answered_total", "Webhooks answered", ["outcome", "tier"])
PARKED = Counter("leads_parked_total", "Webhooks parked, by reason", ["reason"])
DEAD = Counter("leads_dead_total", "Dead letters, by stage and class", ["stage", "error"])
FUSE_BLOWN = Gauge("leads_fuse_blown", "1 once there were too many dead letters: the process leaves")
REROUTED = Counter("leads_rerouted_total", "Messages published once more to their contact's partition")
PARTNER_CALLS = Counter("leads_partner_calls_total", "Calls to a partner, by how they ended", ["partner", "result"])
PARTNER_SECONDS = Histogram(
    "leads_partner_seconds", "Seconds of a partner's call", ["partner"], buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30)
)
PARTNER_MISMATCH = Counter(
    "leads_partner_mismatch_total", "Records of another person than was asked for, refused", ["partner", "where"]
)
BREAKER_OPEN = Gauge("leads_breaker_open", "1 while a partner's breaker is open", ["partner"])
PARTNER_REFUSES = Gauge("leads_partner_refuses", "1 while a partner refuses our credentials or quota", ["partner"])
LOOKUPS_RUNNING = Gauge("leads_lookups_running", "Contacts being looked up: slots taken")
LOOKUPS_WAITING = Gauge("leads_lookups_waiting", "Webhooks whose contact is looked up or waits for a slot")
TABLE_ENTRIES = Gauge("leads_table_entries", "Entries of the table")
UNFINISHED = Gauge("leads_unfinished", "Webhooks that were read and are not finished")
OPEN_TRANSACTION = Gauge(
    "leads_open_transaction_seconds", "Seconds for which an open transaction has held a partition back; 0: none does"
)
PENDING_WRITES = Gauge("leads_pending_writes", "Paid answers and bookings that wait for the database to take them")
PENDING_WRITES_DROPPED = Counter(
    "leads_pending_writes_dropped_total", "Paid answers and bookings that could not be stored and were given up"
)
TASKS = Gauge("leads_tasks", "Tasks of the worker's loop")
TABLE_WRITES_DROPPED = Counter("leads_table_writes_dropped_total", "Changelog writes dropped because the queue is full")
RECEIVED = Counter("leads_webhooks_received_total", "Webhooks received over HTTP", ["source", "result"])
RECEIVE_SECONDS = Histogram(
    "leads_receive_seconds",
    "Seconds from a webhook's arrival over HTTP to its answer",
    ["source"],
    buckets=(0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 10),
)
CONSUMER_LAG = Gauge(
    "leads_consumer_lag", "Offsets of a plain consumer's partitions that are written and not completed", ["group"]
)
CONSUMER_OLDEST = Gauge(
    "leads_consumer_oldest_seconds",
    "Age of the oldest record that a plain consumer read and has not completed",
    ["group"],
)
CRM_WRITES = Counter("leads_crm_writes_total", "Writes to the CRM, by how they ended", ["kind", "result"])


@lru_cache(maxsize=64)
def answered(outcome: str, tier: str | None) -> Counter:
    """The counter of one outcome and tier: looking it up takes longer than counting."""
    return ANSWERED.labels(outcome, tier or "none")

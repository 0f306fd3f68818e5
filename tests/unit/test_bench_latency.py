"""How the latency benchmark combines its rounds."""

from __future__ import annotations

from bench.latency import percentile


def test_a_percentile_is_one_of_all_webhooks_of_all_rounds() -> None:
    """In a slow round each webhook counts, not the round as one value."""
    quick, slow = {"event_ms": [1.0] * 990}, {"event_ms": [100.0] * 10}
    assert percentile([quick, slow], 50) == 1.0
    assert 1.0 < percentile([quick, slow, slow], 99) <= 100.0
    assert percentile([quick], 99) == 1.0

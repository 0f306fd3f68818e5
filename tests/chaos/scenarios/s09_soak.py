"""A soak test: at half of the worker's capacity nothing may grow."""

from __future__ import annotations

import re
import time
import urllib.request
from contextlib import suppress
from statistics import linear_regression

import psutil

from stream import topics
from tests.chaos import scenario
from tests.chaos.rig import Rig

EVERY = 5.0  # seconds between samples
A_MINUTE = 12  # samples
WARM_UP = 0.3  # share of the run in which the table fills and the allocator finds its size
HIGHEST_SLOPE = 1.0  # MB a minute
SPREAD = 1.5  # how far the end may lie above the middle: counts jitter
SLACK = 20  # files, tasks: what comes and goes


class Scenario(scenario.Scenario):
    """Memory, open files, tasks and unfinished webhooks of the worker are level, and no process exits."""

    number, name = 9, "soak"
    # Neither table nor memory of spellings may still fill after the warm-up: that is no leak. 20,000 people's spellings
    # took 120,000 webhooks until memory stood still, and 1.4 MB a minute while they came.
    full = {"minutes": 15, "per_second": 0, "burst": 6_000, "people": 3_000}
    environment = {"CACHE_CAPACITY": "5000"}
    processes = ("producers", "worker")

    def play(self, rig: Rig, minutes: int, per_second: int, burst: int, people: int) -> None:
        """``per_second`` 0: half of the rate at which a burst of ``burst`` webhooks is answered."""
        rig.people(people)
        pace = per_second or self._capacity(rig, burst) / 2
        rig.note("pace", f"{pace:.0f} webhooks a second")
        load = rig.load(int(pace * minutes * 60), per_second=pace)
        samples: list[dict[str, float]] = []
        before = processes(rig)
        began = time.monotonic()
        while load.is_running:
            # One that has ended has no figures; sleep() starts it again, and it is told of below.
            with suppress(psutil.Error, OSError):
                samples.append({"minute": (time.monotonic() - began) / 60, **sample(rig)})
            rig.sleep(EVERY)
            if samples and len(samples) % A_MINUTE == 0:
                rig.look()  # bit by bit: what a quarter of an hour brings is too much for one look
                rig.say(", ".join(f"{name} {value:.1f}" for name, value in samples[-1].items()))
        rig.note("posted", f"{len(load.answered) / (time.monotonic() - began):.0f} webhooks a second")
        after = processes(rig)
        rig.note("processes, from beginning to end", ", ".join(f"{name} {pid}" for name, pid in after.items()))
        rig.promise(after == before and not rig.left, f"processes left: {before} then, {after} now, {rig.left}")
        self._judge(rig, samples[int(len(samples) * WARM_UP) :])

    @staticmethod
    def _capacity(rig: Rig, burst: int) -> float:
        """Webhooks a second from the first POST of a burst to its last event; a first burst warms up."""
        for _ in range(2):
            began = time.monotonic()
            rig.load(burst, per_second=100 * burst)
            rig.settle()
        capacity = burst / (time.monotonic() - began)
        rig.note("capacity", f"{capacity:.0f} webhooks a second, POST to commit")
        return capacity

    @staticmethod
    def _judge(rig: Rig, samples: list[dict[str, float]]) -> None:
        minutes = [one["minute"] for one in samples]
        for name in [name for name in samples[0] if name != "minute"]:
            values = [one[name] for one in samples]
            slope = linear_regression(minutes, values).slope
            rig.note(name, f"{values[0]:.1f} -> {values[-1]:.1f}, highest {max(values):.1f}, {slope:+.2f} a minute")
            if name == "RSS, MB":
                rig.promise(slope < HIGHEST_SLOPE, f"memory grows by {slope:.2f} MB a minute")
            else:
                half = len(values) // 2
                level = max(values[:half]) * SPREAD + SLACK
                rig.promise(max(values[half:]) <= level, f"{name} grow: {max(values[half:]):.0f} after {level:.0f}")


def processes(rig: Rig) -> dict[str, int | None]:
    """The process ids of ours; None for one that has exited."""
    return {name: child.pid if child.is_running else None for name, child in rig.stack.children.items()}


def sample(rig: Rig) -> dict[str, float]:
    """The values that must be level, of the worker and of the producers."""
    worker = psutil.Process(rig.stack.children["worker"].pid)
    producers = psutil.Process(rig.stack.children["producers"].pid)
    metrics = scrape(f"{rig.stack.worker_url}/metrics")
    return {
        "RSS, MB": worker.memory_info().rss / 1e6,
        "open files": worker.num_fds(),
        "threads": worker.num_threads(),
        "tasks": metrics.get("leads_tasks", 0.0),
        "unfinished": metrics.get("leads_unfinished", 0.0),
        "widest span": max(rig.reader.lags(topics.WORKER_GROUP, topics.WEBHOOKS).values()),
        "producers' RSS, MB": producers.memory_info().rss / 1e6,
        "producers' open files": producers.num_fds(),
    }


def scrape(url: str) -> dict[str, float]:
    """Read the metrics without labels."""
    with urllib.request.urlopen(url, timeout=10) as response:
        text = response.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

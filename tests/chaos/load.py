"""Posts webhooks at a steady rate, as the CRM does: a body that is not answered 200 is sent again."""

from __future__ import annotations

import random
import threading
import time
import urllib.error
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from stream.domain.events import event_id
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.local.day import Writer
from stream.local.people import Someone
from stream.local.stack import C2S_TOKEN, GOOGLE_KEY
from tests.support.system import call

GOOGLE_SHARE = 0.1
DAYS = 100_000  # a seed is also a day; calendars end
TICK = 0.1  # seconds between arrays
LARGEST = 200  # webhooks in an array
PATIENCE = 180.0  # seconds for which one body is sent again
BEHIND = 1.0  # seconds that are made up for
PAUSE = 0.3  # seconds before it is

Post = tuple[str, Any, list[str]]  # path, body, event ids


class Load:
    """A thread that posts. It starts no process, because a child would die with the thread."""

    def __init__(self, url: str, posts: Iterable[Post], per_second: float) -> None:
        """``per_second``: webhooks, however many one post contains."""
        self.answered: set[str] = set()
        self.again = 0
        self.failure = ""
        self._url = url
        self._posts = posts
        self._per_second = per_second
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether more posts follow."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the last answer. Fails if a body was not accepted for too long."""
        self._thread.join()
        assert not self.failure, self.failure

    def _run(self) -> None:
        try:
            self._post_all()
        except Exception as error:  # noqa: BLE001 - told to whoever waits for this thread
            self.failure = f"the load ended: {error!r}"

    def _post_all(self) -> None:
        due = time.monotonic()
        for path, body, identities in self._posts:
            if not self._post(path, body):
                return
            self.answered.update(identities)
            due = next_due(due, len(identities), self._per_second, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _post(self, path: str, body: Any) -> bool:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                call(self._url + path, body, "POST", C2S_TOKEN)
            except (urllib.error.URLError, OSError, ValueError) as error:
                if time.monotonic() > until:
                    self.failure = f"not taken for {PATIENCE:.0f} s: {error}"
                    return False
                self.again += 1
                time.sleep(PAUSE)
            else:
                return True


def next_due(due: float, webhooks: int, per_second: float, now: float) -> float:
    """When the next post is due. After an outage the delay is made up for gradually, not at once."""
    return max(due + webhooks / per_second, now - BEHIND)


def posts(people: list[Someone], webhooks: int, size: int, seed: int, first: int) -> Iterator[Post]:
    """Bodies of ``webhooks`` of random ``people``: C2S in arrays of ``size``, some of Google, from number ``first``."""
    write, number = Writer(seed % DAYS), first
    chance = random.Random(seed)
    chosen = (chance.choice(people) for _ in range(webhooks))
    while batch := list(islice(chosen, size)):
        bodies = []
        for someone in batch:
            number += 1
            phone = write.phone(someone.phone)
            if chance.random() < GOOGLE_SHARE:
                yield _google(write, someone, phone, number)
            else:
                bodies.append({**write.c2s(someone.name, phone, someone.email), "id": f"lead-{number}"})
        if bodies:
            yield "/api/v1/webhooks/c2s", bodies, [event_id(lead_from_c2s(body)) for body in bodies]


def _google(write: Writer, someone: Someone, phone: str, number: int) -> Post:
    columns = {"FULL_NAME": someone.name, "PHONE_NUMBER": phone, "EMAIL": someone.email}
    body = {**write.google(columns), "lead_id": f"google-{number}", "google_key": GOOGLE_KEY}
    return "/api/v1/webhooks/google-ads", body, [event_id(lead_from_google(body))]

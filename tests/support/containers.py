"""Servers of a Docker engine, where there is one that can run them; whoever asks has something else where not.

An engine that answers may have no image and no registry. So an image must be there, or come within a limit.
"""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import cache, partial
from queue import Empty, Queue
from typing import TypeVar

import docker
import docker.errors
import requests
from _pytest.capture import CaptureManager
from docker import DockerClient
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

ANSWER_LIMIT = 10  # seconds for each answer of the engine
PULL_LIMIT = 240.0  # seconds for an image

C = TypeVar("C", bound=DockerContainer)
FAILURES = (docker.errors.DockerException, requests.RequestException, OSError)


capture: CaptureManager | None = None  # pytest's


def note(text: str) -> None:
    """Say something although pytest captures output; a process of several has no other way to the terminal."""
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - who waits wants to know for what


@contextmanager
def running(image: str, make: Callable[[], C]) -> Iterator[C | None]:
    """A container of ``image``; None, with a note, where the engine can't run it, and without one where none is."""
    container = _start(image, make) if can_run(image) else None
    try:
        yield container
    finally:
        if container is not None:
            container.stop()


def _start(image: str, make: Callable[[], C]) -> C | None:
    container: C | None = None
    try:
        container = make()
        container.start()
    except Exception as error:  # noqa: BLE001 - whatever it was: there is something else to use
        note(f"Docker can't run {image} ({_reason(error)}): a server out of packages is used instead")
        if container is not None:
            with suppress(Exception):
                container.stop()
        return None
    return container


@cache
def can_run(image: str) -> bool:
    """Whether a Docker engine answers that has the image, or gets it in time."""
    with warnings.catch_warnings():
        # The library leaves the socket that found no engine to the collector, which warns.
        warnings.simplefilter("ignore", ResourceWarning)
        answer = _can_run(image)
        gc.collect()
    return answer


def _can_run(image: str) -> bool:
    try:
        client = docker.from_env(timeout=ANSWER_LIMIT)
    except FAILURES:
        return False  # no engine: nothing to say
    with closing(client):
        try:
            for name in _needed(image):
                _have(client, name)
        except FAILURES as error:
            note(f"a Docker engine answers, but has no {image} ({_reason(error)}): a server out of packages is used")
            return False
    return True


def _needed(image: str) -> list[str]:
    """The image, and the one that removes containers that were left behind."""
    return [image] if testcontainers_config.ryuk_disabled else [image, testcontainers_config.ryuk_image]


def _have(client: DockerClient, image: str) -> None:
    """Pull an image that is not there. Raises DockerException when it can't be had in time."""
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        note(f"pulling {image}")
        _at_most(PULL_LIMIT, partial(_pull, image))
        client.images.get(image)


def _pull(image: str) -> None:
    """Pull an image; may wait for ever, since the library sets a pull no limit."""
    repository, _, tag = image.rpartition(":")
    with closing(docker.from_env(timeout=ANSWER_LIMIT)) as client:
        for line in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise docker.errors.DockerException(line["error"])


def _at_most(seconds: float, work: Callable[[], None]) -> None:
    """Do something that can't be interrupted, in a thread that is left alone after a while."""
    ended: Queue[Exception | None] = Queue()

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        error = ended.get(timeout=seconds)
    except Empty:
        raise docker.errors.DockerException(f"not there after {seconds:.0f} s") from None
    if error is not None:
        raise error


def _reason(error: BaseException) -> str:
    """The first line of what went wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

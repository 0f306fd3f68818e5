"""Finds environment variables that are misspelt names of settings, by one or two letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rapidfuzz.distance import OSA

MAX_EDITS = 2  # an edit: a letter added, removed or changed, or two neighbours exchanged
MIN_NAME_CHARS = 6  # two edits turn a shorter name into almost any other


@dataclass(frozen=True, slots=True)
class NearName:
    """``given`` is set and is no setting. ``meant`` is the setting with the nearest name, and is not set."""

    given: str
    meant: str


def near_names(environ: Mapping[str, str], settings: Iterable[str], secrets: Iterable[str]) -> list[NearName]:
    """The misspelt variables of ``environ``, sorted. ``secrets``: the settings that a NAME_FILE may give as well."""
    files = {f"{name}_FILE": name for name in secrets}
    ours = {*settings, *files}
    unset = sorted(name for name in ours if not environ.get(name) and not _is_given(name, files, environ))
    found = []
    for given in sorted(environ.keys() - ours):
        # Kubernetes sets an address for each service, whose name may resemble a setting's.
        if len(given) < MIN_NAME_CHARS or not environ[given] or environ[given].startswith("tcp://"):
            continue
        distances = {name: OSA.distance(given.upper(), name, score_cutoff=MAX_EDITS) for name in unset}
        nearest = min(distances, key=distances.__getitem__, default="")
        if nearest and distances[nearest] <= MAX_EDITS:
            found.append(NearName(given, nearest))
    return found


def _is_given(name: str, files: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether a secret is given in its other form: as a value instead of a file, or the reverse."""
    return bool(environ.get(files.get(name, f"{name}_FILE")))

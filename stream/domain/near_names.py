"""Which variable of an environment was meant to be a setting, and is none for a slip of one or two letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rapidfuzz.distance import OSA

MOST_EDITS = 2  # a letter added, dropped or changed, or two neighbours exchanged
SHORTEST = 6  # characters; two edits make anything of a shorter name


@dataclass(frozen=True, slots=True)
class NearName:
    """``given`` has a value and is no setting; ``meant`` is one and has none."""

    given: str
    meant: str


def near_names(environ: Mapping[str, str], settings: Iterable[str], secrets: Iterable[str]) -> list[NearName]:
    """The slips of ``environ``, by name. ``secrets``: the settings that NAME_FILE may name a file for."""
    files = {f"{name}_FILE": name for name in secrets}
    ours = {*settings, *files}
    unset = sorted(name for name in ours if not environ.get(name) and not _is_given(name, files, environ))
    found = []
    for given in sorted(environ.keys() - ours):
        # What Kubernetes says of a service that happens to be called alike is an address.
        if len(given) < SHORTEST or not environ[given] or environ[given].startswith("tcp://"):
            continue
        distances = {name: OSA.distance(given.upper(), name, score_cutoff=MOST_EDITS) for name in unset}
        nearest = min(distances, key=distances.__getitem__, default="")
        if nearest and distances[nearest] <= MOST_EDITS:
            found.append(NearName(given, nearest))
    return found


def _is_given(name: str, files: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether a secret is given the other way: by its file, or instead of it."""
    return bool(environ.get(files.get(name, f"{name}_FILE")))

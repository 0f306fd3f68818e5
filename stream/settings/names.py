"""Finds variables that look like settings and are none: misspelt ones, and those of an earlier release."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stream.domain.near_names import NearName, near_names
from stream.settings.model import SECRET_NAMES, Settings

REMOVED = ("STREAM_FAST_PATH",)  # settings of the previous release; setting one logs a warning


def slips(environ: Mapping[str, str] | None = None) -> tuple[list[NearName], list[NearName]]:
    """Variables whose names almost match a setting that is not set: those that must stop the start, and the others.

    A misspelt budget, price or secret must stop the start: ignoring it costs money or leaves a webhook open.
    """
    variables = os.environ if environ is None else environ
    found = near_names(variables, (name.upper() for name in Settings.model_fields), SECRET_NAMES)
    return [one for one in found if _must_stop_start(one.meant)], [
        one for one in found if not _must_stop_start(one.meant)
    ]


def removed(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables that are set but have no effect any more: they were settings of an earlier release."""
    variables = os.environ if environ is None else environ
    return [name for name in REMOVED if variables.get(name)]


def _must_stop_start(variable: str) -> bool:
    return variable.removesuffix("_FILE") in SECRET_NAMES or variable.endswith(("_BUDGET", "_PRICE"))

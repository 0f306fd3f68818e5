"""Reads the settings from the environment and reports every fault at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from stream.settings.model import SECRET_NAMES, Settings


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environ``, by default the environment of the process.

    Raises ``pydantic.ValidationError`` with every fault: invalid values, secrets that are given twice, and each
    ``NAME_FILE`` that can't be read or is not text. The error shows no secret and no path of a secret's file.
    """
    settings, faults = examine(environ)
    if faults is not None:
        raise faults
    return settings


def examine(environ: Mapping[str, str] | None = None) -> tuple[Settings, ValidationError | None]:
    """The settings and all their faults; None for no fault. A setting with a fault has its default value."""
    variables = dict(os.environ if environ is None else environ)
    values: dict[str, Any] = {}
    faults: list[InitErrorDetails] = []
    for name in Settings.model_fields:
        variable = name.upper()
        file = variables.get(f"{variable}_FILE", "") if variable in SECRET_NAMES else ""
        if file and variables.get(variable):
            faults.append(_fault(variable, f"is given twice: unset it, or {variable}_FILE"))
        elif file:
            try:
                values[name] = _text_of(Path(file))
            except OSError as error:
                faults.append(_fault(f"{variable}_FILE", f"the secret's file can't be read: {error.strerror}"))
        elif variables.get(variable):
            values[name] = variables[variable]
    unread = {str(fault["loc"][0]).removesuffix("_FILE").lower() for fault in faults}
    settings, others = _validated(values, unread)
    faults += others
    if not faults:
        return settings, None
    return settings, ValidationError.from_exception_data("Settings", faults, hide_input=True)


def _validated(values: dict[str, Any], unread: set[str]) -> tuple[Settings, list[InitErrorDetails]]:
    """The settings, with defaults in place of invalid values, and the faults.

    ``unread``: fields whose value could not be read. Their fault is reported already, so none is added for them.
    """
    faults: list[InitErrorDetails] = []
    while True:  # validate again without the invalid values, until the rest is valid
        try:
            return Settings.model_validate(values), faults
        except ValidationError as error:
            if not values:
                raise  # the defaults themselves are invalid: a defect of the project
            found = error.errors(include_input=False, include_url=False)
        invalid = {str(fault["loc"][0]) for fault in found}
        faults += [
            _fault(".".join(map(str, fault["loc"])).upper(), fault["msg"].removeprefix("Value error, "))
            for fault in found
            if fault["loc"][0] not in unread
        ]
        if invalid - values.keys():  # a default is invalid only because of KAFKA_SECURITY_PROTOCOL
            invalid.add("kafka_security_protocol")
        values = {name: value for name, value in values.items() if name not in invalid}


def _fault(variable: str, text: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("setting", "{text}", {"text": text}), loc=(variable,), input=None)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "not UTF-8 text", str(path)) from None

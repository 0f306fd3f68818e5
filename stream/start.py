"""What every command does first: read the settings, set up the log, say every fault at once."""

from __future__ import annotations

import sys

import click
from pydantic import ValidationError

from stream import logs
from stream.settings import Settings, load

EXIT_CONFIGURATION = 2


def settings_or_exit(process: str) -> Settings:
    """The settings, with the log set up for ``process``; exits with 2 and every fault named."""
    try:
        settings = load()
    except OSError as error:
        click.echo(f"a secret's file can't be read: {error.filename}: {error.strerror}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except ValidationError as error:
        click.echo("the configuration has faults:", err=True)
        for fault in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            click.echo(f"  {name}: {fault['msg']}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    logs.configure(settings, process)
    return settings

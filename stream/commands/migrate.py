"""``python -m stream migrate``."""

from __future__ import annotations

import sys

import asyncpg
import click
import uvloop
from pogo_core.error import BadMigrationError

from stream.domain.errors import DatabaseUnavailableError
from stream.ops.migrate import migrate
from stream.runtime.startup import settings_or_exit


@click.command()
def command() -> None:
    """Apply the database migrations: additive only, safe while others use the database.

    Example: DATABASE_URL=postgresql://user:password@localhost/leads python -m stream migrate
    """
    settings = settings_or_exit("migrate")
    try:
        applied = uvloop.run(migrate(settings.database_url.get_secret_value()))
    except (DatabaseUnavailableError, BadMigrationError, asyncpg.PostgresError) as error:
        click.echo(f"migrate: {error} ({error.__cause__ or 'is DATABASE_URL right?'})", err=True)
        sys.exit(1)
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to apply")

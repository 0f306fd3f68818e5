"""``python -m stream leave``."""

from __future__ import annotations

import sys

import click
import uvloop
from aiokafka.errors import KafkaError

from stream.commands.screen import show_json
from stream.domain.text import one_line
from stream.kafka.clients import open_admin
from stream.kafka.static_members import remove_members
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings
from stream.topics import WORKER_GROUP


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(*, names: tuple[str, ...], as_json: bool) -> None:
    """Remove workers that will not come back from their group. The others get their partitions at once.

    NAMES are their WORKER_INSTANCE_IDs. Stop them first: a running worker joins again. Exit code 1 when one of them is
    not a member.

    Example: python -m stream leave worker-3
    """
    settings = settings_or_exit("leave")
    try:
        removed = uvloop.run(_leave(settings, names))
    except (KafkaError, OSError) as error:
        click.echo(f"leave: {one_line(str(error)) or type(error).__name__}", err=True)
        sys.exit(1)
    if as_json:
        show_json(removed)
    else:
        click.echo("\n".join(f"{one_line(name)}: {'left' if was else 'is no member'}" for name, was in removed.items()))
    sys.exit(0 if all(removed.values()) else 1)


async def _leave(settings: Settings, names: tuple[str, ...]) -> dict[str, bool]:
    async with open_admin(settings) as admin:
        return await remove_members(admin, WORKER_GROUP, names)

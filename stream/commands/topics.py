"""``python -m stream topics``."""

from __future__ import annotations

import sys

import click
import uvloop
from aiokafka.errors import KafkaError

from stream.commands.screen import show_json
from stream.domain.errors import StopError
from stream.domain.text import one_line
from stream.kafka.clients import open_admin
from stream.ops.topics import Difference, create_missing, differences
from stream.ops.topics import grow as grow_topics
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings


@click.command()
@click.option(
    "--grow",
    is_flag=True,
    help="Add partitions up to TOPIC_PARTITIONS. Stop the workers first; see docs/scaling.md.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(*, grow: bool, as_json: bool) -> None:
    """Create missing topics, and list where the others differ from stream/topics.py (exit code 1).

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python -m stream topics
    """
    settings = settings_or_exit("topics")
    try:
        created, grown, found = uvloop.run(_topics(settings, grow=grow))
    except (StopError, KafkaError, OSError) as error:
        click.echo(f"topics: {one_line(str(error)) or type(error).__name__}", err=True)
        sys.exit(1)
    if as_json:
        show_json({"created": created, "grown": grown, "differences": found})
    else:
        lines = [f"created {name}" for name in created] + [f"grown {name}" for name in grown]
        click.echo("\n".join(map(one_line, lines + [f"differs: {one}" for one in found] or ["all there"])))
    sys.exit(1 if found else 0)


async def _topics(settings: Settings, *, grow: bool) -> tuple[list[str], list[str], list[Difference]]:
    async with open_admin(settings) as admin:
        created = await create_missing(admin, settings)
        grown = await grow_topics(admin, settings) if grow else []
        return created, grown, await differences(admin, settings)

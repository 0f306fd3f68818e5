"""``python -m stream.ops.alive GROUP``: checks that a group has a member, for consumers that serve no health page."""

from __future__ import annotations

import asyncio
import sys

import click
from aiokafka.errors import KafkaError

from stream.kafka.clients import open_admin
from stream.ops.groups import members
from stream.settings import Settings, load
from stream.topics import GROUPS

BROKER_TIMEOUT_S = 8.0


async def is_alive(settings: Settings, group: str) -> bool:
    """Whether ``group`` has a member now. Raises KafkaError, OSError or TimeoutError if the broker does not answer."""
    async with asyncio.timeout(BROKER_TIMEOUT_S), open_admin(settings) as admin:
        return bool(await members(admin, group))


@click.command()
@click.argument("group", type=click.Choice(list(GROUPS)))
def main(group: str) -> None:
    """Exit with 0 if GROUP has a member, with 1 if it has none or the broker does not answer.

    Example: python -m stream.ops.alive leads.crm-sync
    """
    try:
        alive = asyncio.run(is_alive(load(), group))
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        click.echo(f"{group}: the broker does not answer ({type(error).__name__})", err=True)
        sys.exit(1)
    if not alive:
        click.echo(f"{group} has no member", err=True)
    sys.exit(0 if alive else 1)


if __name__ == "__main__":
    main()

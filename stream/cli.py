"""``python -m stream ...``: the table of commands. A command is imported only when it is called."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "worker": "answer webhooks: the Faust worker",
    "leave": "remove workers that will not come back from their group",
    "crm-sync": "write enriched contacts to the CRM",
    "journal": "write one row for each answered webhook, for reports",
    "topics": "create missing topics, list differences",
    "migrate": "apply the database migrations",
    "replay": "reset a consumer group's offsets",
    "dlq": "list, show, redrive or drop dead letters",
    "report": "paid calls, avoided calls and money",
    "local": "start an embedded broker and database",
    "demo": "play a day of leads and check every result",
}


class LazyGroup(click.Group):
    """A group whose commands live in ``stream.commands.<name>.command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"stream.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Enrich sales leads from a stream.

    \b
    Example:
      python -m stream local --simulators     # in one terminal
      python -m stream worker                 # in another
    """  # noqa: D301 - click's mark for lines that must stay as they are

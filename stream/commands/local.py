"""``python -m stream local``."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click
from aiokafka.errors import KafkaError

from stream.commands.screen import show_json
from stream.domain.errors import StreamError
from stream.domain.text import one_line
from stream.local.stack import Stack

EXIT_INTERRUPTED = 130  # the shells' code for Ctrl-C, here before everything is up


@click.command()
@click.option("--simulators", is_flag=True, help="Also start Diretrix, the Work API and C2S.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on the partners' latencies.")
@click.option("--json", "as_json", is_flag=True, help="The addresses as one JSON object.")
def command(*, simulators: bool, scale: float, as_json: bool) -> None:
    """Start an embedded broker and database, create topics and tables, and run until Ctrl-C.

    Example: python -m stream local --simulators
    """
    signal.signal(signal.SIGTERM, _raise_interrupt)  # SIGTERM acts as Ctrl-C
    is_ready = False
    stack = Stack(lambda text: click.echo(text, err=True), scale=scale)
    try:
        with stack:
            stack.start_servers()
            if simulators:
                stack.start_simulators()
            _print(stack, as_json=as_json)
            is_ready = True
            threading.Event().wait()
    except KeyboardInterrupt:
        sys.exit(0 if is_ready else EXIT_INTERRUPTED)
    except (StreamError, KafkaError, OSError) as error:
        click.echo(f"local: {one_line(str(error))}", err=True)
        sys.exit(1)


def _raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _print(stack: Stack, *, as_json: bool) -> None:
    shown = (
        stack.environment()
        if stack.simulators_url
        else {name: stack.environment()[name] for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")}
    )
    if as_json:
        show_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"export {name}='{value}'")
    click.echo("ready; Ctrl-C stops everything", err=True)

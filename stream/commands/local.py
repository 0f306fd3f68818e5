"""``python -m stream local``."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import click
import orjson

from stream.domain.errors import StreamError
from stream.local.stack import Stack


@click.command()
@click.option("--simulators", is_flag=True, help="Also start Diretrix, the Work API and C2S.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on the partners' latencies.")
@click.option("--json", "as_json", is_flag=True, help="The addresses as one JSON object.")
def command(*, simulators: bool, scale: float, as_json: bool) -> None:
    """Start an embedded broker and database, make topics and tables, and stay until Ctrl-C.

    Example: python -m stream local --simulators
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    stack = Stack(lambda text: click.echo(text, err=True), scale=scale)
    try:
        with stack:
            stack.start_servers()
            if simulators:
                stack.start_simulators()
            signal.signal(signal.SIGTERM, end)
            signal.signal(signal.SIGINT, end)
            _print(stack, as_json=as_json)
            stop.wait()
    except KeyboardInterrupt:
        sys.exit(130)
    except StreamError as error:
        click.echo(f"local: {error}", err=True)
        sys.exit(1)


def _print(stack: Stack, *, as_json: bool) -> None:
    shown = (
        stack.environment()
        if stack.simulators_url
        else {name: stack.environment()[name] for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")}
    )
    if as_json:
        click.echo(orjson.dumps(shown))
        return
    for name, value in shown.items():
        click.echo(f"export {name}='{value}'")
    click.echo("ready; Ctrl-C stops everything", err=True)

"""The cost of each part of a hit, and so of each guarantee, measured by pyperf on ``bench.parts``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from bench.result import Options, Row
from stream.domain.errors import StopError

GOALS = ("the cost of each guarantee in microseconds",)
COMMAND = "python -m bench micro"


async def run(options: Options) -> list[Row]:
    """Time every part; ``rounds`` are pyperf's processes, with three values each."""
    import pyperf  # noqa: PLC0415 - an extra: the other benchmarks do without

    with tempfile.TemporaryDirectory(prefix="lead-stream-bench-") as folder:
        path = Path(folder) / "parts.json"
        flags = ["-o", str(path), "-p", str(options.rounds), "-n", "3", "-w", "1", "--min-time", "0.05", "-q"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.parts", *flags, stdout=sys.stderr.fileno()
        )
        if await process.wait():
            raise StopError("pyperf failed")
        suite = pyperf.BenchmarkSuite.load(str(path))
    return [_row(one.get_name(), [value * 1e6 for value in one.get_values()]) for one in suite.get_benchmarks()]


def _row(name: str, values: list[float]) -> Row:
    middle = sorted(values)[len(values) // 2]
    note = f"{min(values):.2f}..{max(values):.2f} in {len(values)} values"
    return Row(f"part: {name}", middle, "us", "", None, COMMAND, note)

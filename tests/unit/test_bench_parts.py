"""The parts that ``python -m bench micro`` times."""

from __future__ import annotations

import pytest

from bench.parts import parts

PARTS = parts(count=5)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_a_hit_can_be_timed(name: str) -> None:
    """Each part runs on its input, so no benchmark is left behind by a change of the code."""
    assert PARTS[name](7) >= 0

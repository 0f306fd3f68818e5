"""The progress lines of a chaos run."""

from __future__ import annotations

from tests.chaos.__main__ import repeat
from tests.chaos.progress import Progress


def test_the_command_that_plays_a_run_again_has_all_its_options() -> None:
    """It has the seed, the scenarios, the size and every changed size."""
    changes = ("webhooks=500", "kills=2")
    wanted = 'seed 7: make chaos ARGS="--seed 7 --size small --only 1,2 --set webhooks=500 --set kills=2"'
    assert repeat(7, "1,2", "small", changes) == wanted
    assert repeat(7, "", "full", ()) == 'seed 7: make chaos ARGS="--seed 7 --size full"'


def test_a_line_says_which_scenario_of_how_many_it_is_about() -> None:
    """A line has the minutes passed, the scenario's number and the number of scenarios."""
    lines: list[str] = []
    progress = Progress(11, lines.append)
    progress.next()
    progress.next()("worker killed")
    assert lines == [" 0.0 min, 2 of 11: worker killed"]

"""The bounded cache of computed values."""

from __future__ import annotations

from stream.domain.memo import Memo


def test_a_value_is_computed_once_and_the_cache_is_bounded() -> None:
    """A cached value is not computed again; a full cache is emptied."""
    made: list[int] = []

    def double(number: int) -> int:
        made.append(number)
        return 2 * number

    memo = Memo(double, 3)
    assert [memo[number] for number in (1, 2, 3, 1, 2, 3)] == [2, 4, 6, 2, 4, 6]
    assert made == [1, 2, 3]
    assert (memo[4], len(memo)) == (8, 1)
    assert [memo[number] for number in range(10)] == [2 * number for number in range(10)]
    assert len(memo) <= 3

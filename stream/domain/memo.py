"""What was made of a key, kept for the next time: a bounded memory that costs a hit one look into a dict.

``functools.lru_cache`` moves what it finds to the end of a list, for which it touches the memory of three more
entries. Here a full memory begins anew instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Memo(dict[Key, Made]):
    """``memo[key]`` is what ``make`` made of ``key``; at most ``most`` are kept."""

    def __init__(self, make: Callable[[Key], Made], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: Key) -> Made:
        made = self._make(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = made
        return made

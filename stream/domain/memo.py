"""A bounded cache of computed values, whose hit costs one dict look-up.

``functools.lru_cache`` moves each entry that it finds to the end of a list, and so touches the memory of three more
entries. This cache is emptied when it is full instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memo(dict[Key, Value]):
    """``memo[key]`` is ``compute(key)``, computed once; at most ``max_entries`` values are kept."""

    def __init__(self, compute: Callable[[Key], Value], max_entries: int) -> None:
        super().__init__()
        self._compute = compute
        self._max_entries = max_entries

    def __missing__(self, key: Key) -> Value:
        value = self._compute(key)
        if len(self) >= self._max_entries:
            self.clear()
        self[key] = value
        return value

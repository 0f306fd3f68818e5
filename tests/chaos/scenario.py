"""The base class of scenarios, and the function that finds them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tests.chaos import scenarios

if TYPE_CHECKING:
    from tests.chaos.rig import Rig


class Scenario:
    """One failure, at a full and at a small size."""

    number: ClassVar[int]
    name: ClassVar[str]
    full: ClassVar[Mapping[str, int]]
    small: ClassVar[Mapping[str, int]] = {}  # empty: not in ``make test``
    environment: ClassVar[Mapping[str, str]] = {}
    scale: ClassVar[float] = 0.05  # on the partners' latencies
    processes: ClassVar[tuple[str, ...]] = ("producers", "worker", "crm-sync", "journal")

    def play(self, rig: Rig, **size: Any) -> None:
        """Cause the failure; the runner then waits for every webhook's end, and verifies."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Number and name."""
        return f"{self.number} {self.name}"


def found() -> list[Scenario]:
    """One instance of each scenario, by number."""
    modules = [
        importlib.import_module(f"{scenarios.__name__}.{one.name}") for one in pkgutil.iter_modules(scenarios.__path__)
    ]
    return sorted((module.Scenario() for module in modules), key=lambda one: one.number)

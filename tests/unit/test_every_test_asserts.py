"""No test passes by asserting nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("test_*.py"))
EXPECTATIONS = ("assert_", "check", "verify", "expect", "until", "wait_until")  # how functions are called that assert
RAISES = ("raises", "fail", "warns")  # pytest's
Function = ast.FunctionDef | ast.AsyncFunctionDef


def collected(tree: ast.AST) -> Iterator[Function]:
    """What pytest takes for tests in a module, in classes too."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test"):
            yield node


def asserts(function: Function) -> bool:
    """Whether something in it can fail: a constant can't."""
    return any(map(_can_fail, ast.walk(function)))


def _can_fail(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Attribute(value=ast.Name(id="pytest"), attr=name):
            return name in RAISES
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.startswith(EXPECTATIONS)
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_says_what_must_hold(path: Path) -> None:
    """By an assertion, an exception that must come, or a function whose name says that it checks."""
    idle = [f"{path}:{one.lineno} {one.name}" for one in collected(ast.parse(path.read_text())) if not asserts(one)]
    assert not idle, "\n".join(idle)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("assert f() == 1", True),
        ("with pytest.raises(ValueError):\n        f()", True),
        ("for _ in x:\n        check_all(x)", True),
        ("self.rig.verify()", True),
        ("await expect_event(x)", True),
        ("wait_until(lambda: x, 'x')", True),
        ("f()", False),
        ("assert True", False),
        ("assert 'text'", False),
        ("await reader.wait()", False),
    ],
)
def test_an_idle_test_is_found(body: str, *, says: bool) -> None:
    """The finder itself: what only runs without an error says nothing."""
    (function,) = collected(ast.parse(f"class Some:\n  async def test_one(self):\n    '''A sentence.'''\n    {body}"))
    assert asserts(function) is says

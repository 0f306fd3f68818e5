"""Every test asserts something."""

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
    """The tests of a module as pytest would collect them, also in classes."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test"):
            yield node


def asserts(function: Function) -> bool:
    """Whether something in the test can fail; a constant can't."""
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
def test_every_test_asserts(path: Path) -> None:
    """Each test has an assertion, an expected exception, or a call of a function that is named as a check."""
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
    """The finder reports a test that only runs."""
    (function,) = collected(ast.parse(f"class Some:\n  async def test_one(self):\n    '''A sentence.'''\n    {body}"))
    assert asserts(function) is says

"""The receiver, and what it publishes with, use the public interfaces of their libraries only (ADR 13)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import producers
from stream.kafka import batch_producer, partition_queue, publish_handle

SHARED = [Path(module.__file__) for module in (batch_producer, partition_queue, publish_handle)]
FILES = [*sorted(Path(producers.__file__).parent.glob("**/*.py")), *SHARED]
LIBRARIES = ("aiohttp", "aiokafka", "uvloop")
PRIVATE = ("aiohttp.web_protocol", "aiohttp.base_protocol", "aiohttp.http_parser", "aiohttp.http_writer")
# Classes that a library means to be extended. ``web.Response`` is not extended either.
BASES = {"asyncio.Protocol", "asyncio.BufferedProtocol", "asyncio.Transport", "logging.Filter", "Exception"}


def private_attributes(tree: ast.AST) -> list[str]:
    """Attributes with a leading underscore of anything but ``self`` and ``cls``."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    ]


def imports(tree: ast.AST) -> list[str]:
    """Full names of what is imported."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_private_attribute_of_a_library_is_used(path: Path) -> None:
    """No attribute with a leading underscore but our own, and no module of a library's insides."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert private_attributes(tree) == []
    for name in imports(tree):
        assert not name.startswith(PRIVATE)
        if name.startswith(LIBRARIES):
            assert not any(part.startswith("_") for part in name.split("."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_class_of_a_library_is_extended(path: Path) -> None:
    """Classes are ours, or extend what asyncio means to be extended."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in map(ast.unparse, node.bases):
                assert not base.startswith(("web.", "aiohttp", "uvloop", "AIOKafka")), f"{node.name}({base})"
                if base.startswith(("asyncio.", "logging.")):
                    assert base in BASES


def test_no_loop_is_replaced() -> None:
    """Uvloop runs as it is, and no library's attribute is assigned to."""
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not {"asyncio.set_event_loop", "asyncio.set_event_loop_policy"} & set(calls)


def test_the_check_sees_what_it_looks_for() -> None:
    """A private attribute of somebody else is found, one of our own is not."""
    tree = ast.parse("self._own = request._payload\nproducer._sender.x = 1\nself.a._b()\nx.__class__")
    assert private_attributes(tree) == ["request._payload", "producer._sender", "self.a._b"]

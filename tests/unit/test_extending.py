"""docs/extending.md agrees with the code: what it names exists, and every source is as it says."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import orjson
import pytest

from producers.sources import ENDPOINTS
from stream.domain.sources import SOURCES
from stream.domain.sources.lead import Source
from stream.settings import SECRET_NAMES, Settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SKELETONS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
PROSE = re.sub(r"```python\n.*?```", "", GUIDE, flags=re.DOTALL)
FILES = sorted({name for name in re.findall(r"`([\w./-]+\.\w+)`", PROSE) if "/" in name or (ROOT / name).exists()})


def test_the_guide_names_files() -> None:
    """The pattern finds the tables, so the other tests check something."""
    assert {"stream/domain/sources/lead.py", "producers/sources/__init__.py", ".env.example"} <= set(FILES)
    assert len(FILES) > 30
    assert len(SKELETONS) == 5


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_the_guide_names_exists(name: str) -> None:
    """Each file that the guide names exists."""
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(
    "folder", sorted({Path(name).parent for name in re.findall(r"`([\w./-]+<name>[\w.*]+)`", PROSE)})
)
def test_new_files_have_a_folder(folder: Path) -> None:
    """Each new file's folder exists."""
    assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("skeleton", SKELETONS, ids=range(len(SKELETONS)))
def test_a_skeleton_imports_what_there_is(skeleton: str) -> None:
    """Each skeleton parses, and each imported name exists."""
    imports = [node for node in ast.walk(ast.parse(skeleton)) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        assert node.module is not None
        module = importlib.import_module(node.module)
        for alias in node.names:
            assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("source", Source)
def test_every_source_has_what_the_guide_lists(source: Source) -> None:
    """Each source has both modules, a secret setting, an endpoint and golden payloads that its reader reads."""
    for folder in ("stream/domain/sources", "producers/sources"):
        assert (ROOT / folder / f"{source}.py").is_file()
    setting = ENDPOINTS[source].setting
    assert setting in Settings.model_fields
    assert setting.upper() in SECRET_NAMES
    assert f"{setting.upper()}:" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    golden = list((ROOT / "tests" / "golden").glob(f"{source.partition('_')[0]}_*.json"))
    assert golden
    for path in golden:
        assert SOURCES[source].read(orjson.loads(path.read_bytes())).source is source

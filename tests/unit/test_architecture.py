"""The import table of the design, enforced from the imports of every module, hidden ones too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SERVICES = "netra_backend.app.services"
CONFIG = "netra_backend.app.config"
TELEMETRY = "netra_backend.app.telemetry"
AUTH = "netra_backend.app.auth"
DB = "netra_backend.app.db"
RUNS = "netra_backend.app.runs"
REALTIME = "netra_backend.app.realtime"
AGENTS = "netra_backend.app.agents"
API = "netra_backend.app.api"
WEB = "netra_backend.app.web"
MAIN = "netra_backend.app.main"
COMMANDS = "netra_backend.app.commands"
GOLDEN_PATH = "netra_golden_path"
GOLDEN_PATH_COMMANDS = "netra_golden_path.cli"
REPAIR = "netra_repair"
REPAIR_COMMANDS = "netra_repair.cli"
CLI = "netra_cli"

BELOW_API = (SERVICES, CONFIG, TELEMETRY, AUTH, DB, RUNS, REALTIME, AGENTS)


@dataclass(frozen=True)
class Layer:
    """What a layer may import beside itself and the standard library.

    Attributes:
        imports: the layers it may import anywhere.
        lazily: the layers it may import inside functions only.
        libraries: whether it may import installed libraries.
    """

    imports: tuple[str, ...] = ()
    lazily: tuple[str, ...] = ()
    libraries: bool = True


TABLE = {
    SERVICES: Layer(libraries=False),
    CONFIG: Layer((SERVICES, TELEMETRY)),
    TELEMETRY: Layer((SERVICES,)),
    AUTH: Layer((SERVICES, TELEMETRY)),
    DB: Layer((SERVICES, TELEMETRY)),
    RUNS: Layer((DB, SERVICES, TELEMETRY)),
    REALTIME: Layer((SERVICES, TELEMETRY)),
    AGENTS: Layer((SERVICES, TELEMETRY)),
    API: Layer(BELOW_API),
    WEB: Layer(libraries=False),
    MAIN: Layer((*BELOW_API, API, WEB)),
    COMMANDS: Layer((*BELOW_API, API, WEB, MAIN)),
    GOLDEN_PATH: Layer((SERVICES,)),
    REPAIR: Layer(),
    CLI: Layer(lazily=(COMMANDS, GOLDEN_PATH_COMMANDS, REPAIR_COMMANDS), libraries=False),
}

# Packages that only hold layers: no row, and nothing in their __init__.py.
HOLDERS = ("netra_backend", "netra_backend.app")
EMPTY_INITS = (*HOLDERS, SERVICES, WEB)
OURS = frozenset(name.partition(".")[0] for name in TABLE)


@dataclass(frozen=True)
class Import:
    """One name that a module imports.

    Attributes:
        target: the module it comes from, or the name itself where that is a module.
        line: where.
        lazy: whether it is inside a function.
        typing_only: whether it is under `if TYPE_CHECKING`.
    """

    target: str
    line: int
    lazy: bool
    typing_only: bool


@dataclass(frozen=True)
class Module:
    """One Python file of ours, and what it imports."""

    name: str
    path: Path
    imports: tuple[Import, ...]


def modules_of(root: Path) -> list[Module]:
    """Every module of the parts under `root`, with its imports."""
    files: dict[str, Path] = {}
    for top in sorted(OURS):
        for path in [root / f"{top}.py", *sorted((root / top).rglob("*.py"))]:
            if path.exists():
                files[_module_name(root, path)] = path
    return [Module(name, path, tuple(_imports(name, path, files))) for name, path in files.items()]


def _module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, files: dict[str, Path]) -> Iterator[Import]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, lazy: bool, typing_only: bool) -> Iterator[Import]:
        for target in _targets(node, package, files):
            yield Import(target, getattr(node, "lineno", 0), lazy, typing_only)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else []
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy, typing_only or child in guarded)

    return walk(ast.parse(path.read_bytes(), str(path)), lazy=False, typing_only=False)


def _targets(node: ast.AST, package: str, files: dict[str, Path]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = ".".join(package.split(".")[: package.count(".") + 2 - level]) if level else ""
            source = ".".join(filter(None, (base, module)))
            children = [f"{source}.{alias.name}" for alias in names]
            return [child if child in files or _layer_of(source) is None else source for child in children]
        case ast.Call(
            func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(target)), *_]
        ):
            return [target] if called in {"import_module", "__import__"} and not target.startswith(".") else []
    return []


def _layer_of(module: str) -> str | None:
    """The row a module belongs to: the longest one that its name begins with."""
    rows = [row for row in TABLE if module == row or module.startswith(f"{row}.")]
    return max(rows, key=len, default=None)


def violations(root: Path) -> list[str]:
    """What under `root` breaks the table, each with its place and what is allowed there."""
    return [*_misplaced(root), *(broken for module in modules_of(root) for broken in _forbidden_imports(root, module))]


def _misplaced(root: Path) -> Iterator[str]:
    app = root / "netra_backend" / "app"
    for folder in sorted(app.iterdir() if app.exists() else ()):
        layer = f"netra_backend.app.{folder.name}"
        if folder.is_dir() and folder.name != "__pycache__" and layer not in TABLE:
            yield f"{folder.relative_to(root)}: a new layer needs a row in TABLE"
    for package in EMPTY_INITS:
        init = root.joinpath(*package.split("."), "__init__.py")
        if init.exists() and init.read_bytes():
            yield f"{init.relative_to(root)}: expected an empty file"
    for path in sorted((app / "web").rglob("*.py")):
        if path != app / "web" / "__init__.py":
            yield f"{path.relative_to(root)}: web holds no Python"


def _forbidden_imports(root: Path, module: Module) -> Iterator[str]:
    layer = _layer_of(module.name)
    if layer is None:
        if module.name not in HOLDERS:
            yield f"{module.path.relative_to(root)}: a new module of the app needs a row in TABLE"
        return
    rules = TABLE[layer]
    for imported in module.imports:
        top = imported.target.partition(".")[0]
        if top in OURS:
            allowed = _layer_of(imported.target) in {layer, *rules.imports} or (
                imported.lazy and imported.target in rules.lazily
            )
        else:
            allowed = rules.libraries or top in sys.stdlib_module_names
        if not allowed:
            yield f"{module.path.relative_to(root)}:{imported.line}: {layer} may not import {imported.target}"


def test_every_import_obeys_the_table(pytestconfig: pytest.Config) -> None:
    """No module imports what its layer may not, and every layer has a row."""
    assert violations(pytestconfig.rootpath) == []


def test_no_two_modules_need_each_other(pytestconfig: pytest.Config) -> None:
    """Importing any module first works, because no imports at module level form a circle."""
    graph = {
        module.name: {
            imported.target
            for imported in module.imports
            if imported.target.partition(".")[0] in OURS and not imported.lazy and not imported.typing_only
        }
        for module in modules_of(pytestconfig.rootpath)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(f"modules that import each other: {' -> '.join(cycle.args[1])}")


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "text", "imported"),
    [
        ("netra_backend/app/services/ids.py", "import sqlalchemy", "sqlalchemy"),
        ("netra_backend/app/services/ids.py", "from netra_backend.app import db", "netra_backend.app.db"),
        ("netra_backend/app/services/ids.py", "from ..db.engine import Engine", "netra_backend.app.db.engine"),
        ("netra_backend/app/services/ids.py", "from .. import telemetry", "netra_backend.app.telemetry"),
        ("netra_backend/app/services/ids.py", "import netra_backend.app", "netra_backend.app"),
        ("netra_backend/app/services/ids.py", "from netra_backend.app import *", "netra_backend.app.*"),
        ("netra_backend/app/db/reader.py", "def read():\n    from ..auth import tokens", "netra_backend.app.auth"),
        ("netra_backend/app/db/reader.py", "async def read():\n    import netra_cli", "netra_cli"),
        (
            "netra_backend/app/realtime/hub.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from netra_backend.app.runs.ledger import Ledger",
            "netra_backend.app.runs.ledger",
        ),
        (
            "netra_backend/app/agents/base.py",
            "try:\n    import netra_backend.app.config as c\nexcept ImportError:\n    pass",
            "netra_backend.app.config",
        ),
        (
            "netra_backend/app/agents/base.py",
            "from importlib import import_module\nimport_module('netra_backend.app.db')",
            "netra_backend.app.db",
        ),
        ("netra_backend/app/telemetry.py", "from .config import Settings", "netra_backend.app.config"),
        ("netra_backend/app/api/ws.py", "from netra_backend.app.main import create_app", "netra_backend.app.main"),
        ("netra_backend/app/main.py", "from . import commands", "netra_backend.app.commands"),
        ("netra_golden_path/client.py", "from netra_backend.app.api import ws", "netra_backend.app.api"),
        ("netra_repair/plan.py", "from netra_backend.app.services import ids", "netra_backend.app.services"),
        ("netra_cli.py", "import rich", "rich"),
        ("netra_cli.py", "from netra_backend.app import commands", "netra_backend.app.commands"),
        ("netra_cli.py", "def main():\n    from netra_backend.app.db import engine", "netra_backend.app.db"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, name: str, text: str, imported: str) -> None:
    """The enforcement itself works: whichever way a forbidden import is written, its file and target are told."""
    found = violations(_tree(tmp_path, {name: text}))
    assert [line for line in found if line.startswith(f"{name}:") and f"may not import {imported}" in line] == found
    assert found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("netra_backend/app/services/ids.py", "from __future__ import annotations\nimport json, uuid"),
        ("netra_backend/app/services/ids.py", "from .json_values import JsonValue\nfrom . import ports"),
        ("netra_backend/app/db/reader.py", "import sqlalchemy\nfrom netra_backend.app import services, telemetry"),
        ("netra_backend/app/db/migrations/env.py", "from alembic import context\nfrom ..tables import metadata"),
        ("netra_backend/app/db/reader.py", "from importlib import import_module\nimport_module('json')"),
        ("netra_backend/app/runs/ledger.py", "from ..db import reader"),
        ("netra_backend/app/api/ws.py", "from netra_backend.app import auth, config, realtime, runs\nimport fastapi"),
        ("netra_backend/app/main.py", "from . import agents, api, db, telemetry"),
        ("netra_backend/app/commands.py", "import uvicorn\ndef serve():\n    from .main import create_app"),
        ("netra_golden_path/client.py", "import aiohttp\nfrom netra_backend.app.services.ids import new_id"),
        ("netra_repair/plan.py", "import libcst\nfrom .causes import Cause"),
        ("netra_cli.py", "import sys\ndef main():\n    from netra_golden_path import cli"),
        ("netra_cli.py", "def main():\n    from netra_golden_path.cli import main"),
        ("netra_cli.py", "def main():\n    import netra_backend.app.commands as commands"),
    ],
)
def test_an_allowed_import_is_not_reported(tmp_path: Path, name: str, text: str) -> None:
    """What the table allows passes."""
    packages = {f"{row.replace('.', '/')}/__init__.py": "" for row in (SERVICES, AUTH, DB, RUNS, REALTIME, AGENTS, API)}
    modules = {f"{row.replace('.', '/')}.py": "" for row in (CONFIG, TELEMETRY, GOLDEN_PATH_COMMANDS, COMMANDS)}
    assert violations(_tree(tmp_path, packages | modules | {name: text})) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("netra_backend/app/billing/__init__.py", ""),
        ("netra_backend/app/helpers.py", ""),
        ("netra_backend/app/billing/page.html", ""),
        ("netra_backend/app/web/pages.py", ""),
        ("netra_backend/__init__.py", "import json"),
        ("netra_backend/app/__init__.py", '"""A docstring."""'),
        ("netra_backend/app/services/__init__.py", "from .ids import new_id"),
    ],
)
def test_a_layer_without_a_row_and_a_full_init_are_found(tmp_path: Path, name: str, text: str) -> None:
    """A new layer or module of the app without a row fails, and so does an `__init__.py` that has to be empty."""
    assert violations(_tree(tmp_path, {name: text}))

"""A user's row is reached over a repository, which is made from a context, or by the closed list; nothing else can.

What the code is made of is read here, so that a new module is held to it without being named anywhere. What a
statement may reach when it is executed is `test_owner_criterion` and `test_security`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_type_hints

import pytest
from sqlalchemy import Connection, MetaData, Table

from netra_backend.app.db import repositories, system_operations, tables
from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.repository import Repository
from netra_backend.app.services.user_execution_context import UserExecutionContext

REPOSITORIES: Final = "db/repositories/"
MIGRATIONS: Final = "db/migrations/"

CLOSED_LIST: Final = ("db/system_operations.py", "db/locks.py", "runs/ledger.py")
"""What reaches rows without a repository: for nobody yet, or for all users at once."""

WITHOUT_ROWS: Final = ("db/tables.py", "db/security.py", "db/owner_criterion.py")
"""What speaks of the tables and executes no statement over their rows."""

TEXT_OF_SQL: Final = (
    *("db/sqlite.py", "db/postgresql.py", "db/security.py"),
    *("db/bulk.py", "db/backup.py", "db/serving_lock.py"),
)
"""What hands text, or a file, to the database as it is."""

ACTORS: Final = {
    "act_as": ("db/engine.py", "db/writer.py", "db/system_operations.py", "runs/ledger.py"),
    "become": ("db/sqlite.py", "db/system_operations.py"),
}
"""Who says as whom a transaction acts."""

ELEVATED: Final = {"SYSTEM": "db/system_operations.py", "LEDGER": "runs/ledger.py"}
"""The roles that are not held to one user, and who takes them on."""


MODULES: Final = [f"{repositories.__name__}.{module.name}" for module in pkgutil.iter_modules(repositories.__path__)]


def violations(app: Path) -> list[str]:
    """What in the files of the app goes round the repositories."""
    found: list[str] = []
    for path in sorted(app.rglob("*.py")):
        name = path.relative_to(app).as_posix()
        found += [f"{name}:{line}: {what}" for line, what in _violations(name, ast.parse(path.read_text()))]
    return found


def _violations(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    reaches_rows = name.startswith((REPOSITORIES, MIGRATIONS)) or name in CLOSED_LIST
    hands_on_text = name.startswith(MIGRATIONS) or name in TEXT_OF_SQL
    is_definition = name in ("db/roles.py", *WITHOUT_ROWS)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names) if module and module.split(".")[-1] == "tables":
                taken = [alias.name for alias in names if _holds_rows(alias.name)]
                if taken and not reaches_rows and name not in WITHOUT_ROWS:
                    yield node.lineno, f"takes the table {taken[0]}: expected a repository to be asked"
            case ast.ImportFrom(names=names) if any(alias.name == "tables" for alias in names):
                yield node.lineno, "takes all tables at once: expected the ones by their names"
            case ast.Import(names=names) if any(alias.name.endswith(".tables") for alias in names):
                yield node.lineno, "takes all tables at once: expected the ones by their names"
            case ast.Import(names=names) if not hands_on_text and {alias.name for alias in names} & _DRIVERS:
                yield node.lineno, "takes a driver: expected a repository to be asked"
            case ast.ImportFrom(module="sqlalchemy", names=names) if not hands_on_text:
                if raw := {alias.name for alias in names} & _RAW:
                    yield node.lineno, f"takes sqlalchemy.{sorted(raw)[0]}: expected statements over the tables"
            case ast.Attribute(attr="exec_driver_sql") if not hands_on_text:
                yield node.lineno, "hands text to the driver: expected statements over the tables"
            case ast.Attribute(attr="read_for") if name not in (f"{REPOSITORIES}repository.py", "db/engine.py"):
                yield node.lineno, "names the user of a transaction: expected a repository to be asked"
            case ast.Call(func=ast.Attribute(attr="run"), keywords=keywords):
                if name != f"{REPOSITORIES}repository.py" and any(word.arg == "user_id" for word in keywords):
                    yield node.lineno, "names the user of a transaction: expected a repository to be asked"
            case ast.Call(func=ast.Name(id=called)) if called in ACTORS:
                if name not in (*ACTORS[called], "db/roles.py"):
                    yield node.lineno, f"calls {called}: expected a repository to be asked, or the closed list"
            case ast.Attribute(value=ast.Name(id="Role"), attr=role) if role in ELEVATED:
                if name != ELEVATED[role] and not is_definition:
                    yield node.lineno, f"speaks of the role {role}, which is not held to one user"


_DRIVERS: Final = frozenset({"sqlite3", "psycopg"})
_RAW: Final = frozenset({"text", "table", "create_engine"})


def _holds_rows(name: str) -> bool:
    return name == "*" or isinstance(getattr(tables, name, None), Table | MetaData)


def test_nothing_goes_round_the_repositories(pytestconfig: pytest.Config) -> None:
    """Only repositories and the closed list take a table, a driver, a role, or a transaction of a user's."""
    assert violations(pytestconfig.rootpath / "netra_backend" / "app") == []


@pytest.mark.parametrize("name", sorted({*CLOSED_LIST, *WITHOUT_ROWS, *TEXT_OF_SQL}))
def test_the_lists_name_what_there_is(pytestconfig: pytest.Config, name: str) -> None:
    """A file that is gone does not stay on a list, where a new one of its name would be trusted."""
    assert (pytestconfig.rootpath / "netra_backend" / "app" / name).is_file()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api/threads.py", "from netra_backend.app.db.tables import threads"),
        ("api/threads.py", "from netra_backend.app.db.tables import metadata"),
        ("api/threads.py", "from netra_backend.app.db.tables import *"),
        ("db/eraser.py", "from .tables import UtcDateTime, users"),
        ("runs/ledgers.py", "from netra_backend.app.db import tables"),
        ("runs/admission.py", "import netra_backend.app.db.tables as t"),
        ("main.py", "import sqlite3"),
        ("auth/sessions.py", "from sqlalchemy import text"),
        ("db/repositories/threads.py", "from sqlalchemy import table"),
        ("api/state.py", "from sqlalchemy import create_engine"),
        ("db/repositories/threads.py", "def f(connection):\n    connection.exec_driver_sql('SELECT 1')"),
        ("runs/run_service.py", 'async def f(database, work):\n    await database.read_for("u", work)'),
        (
            "db/repositories/runs.py",
            'async def f(database, work):\n    await database.read_for("u", work)',
        ),
        ("api/usage.py", "def f(writer, work):\n    return writer.run(work, user_id='alice')"),
        ("api/accounts.py", "def f(connection):\n    act_as(connection, role)"),
        ("db/repositories/threads.py", "def f(connection):\n    become(connection, None)"),
        ("db/eraser.py", "role = Role.SYSTEM"),
        ("db/writer.py", "role = Role.LEDGER"),
    ],
)
def test_a_way_round_is_found(tmp_path: Path, name: str, text: str) -> None:
    """The enforcement itself works: whichever way somebody goes round, the file and the line are told."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{name}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api/threads.py", "from netra_backend.app.db.repositories.threads import ThreadRepository"),
        ("db/eraser.py", "from .tables import UtcDateTime, ERASED_MESSAGE"),
        ("db/repositories/notes.py", "from netra_backend.app.db.tables import threads\nfrom sqlalchemy import select"),
        ("db/system_operations.py", "from .tables import users\nact_as(connection, Role.SYSTEM)"),
        ("api/health.py", "from sqlalchemy import select"),
        ("main.py", "async def f(database, work):\n    await database.read(work)"),
        ("commands.py", "import uvicorn\nuvicorn.run(app)"),
    ],
)
def test_the_right_way_is_not_reported(tmp_path: Path, name: str, text: str) -> None:
    """What goes over a repository, or is of the closed list, passes."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert violations(tmp_path) == []


@pytest.mark.parametrize("module", MODULES)
def test_what_reaches_rows_in_a_repositorys_module_is_a_repository(module: str) -> None:
    """Whatever there takes a connection or a database is a method of a class that is made from a context."""
    for name, made in vars(importlib.import_module(module)).items():
        if getattr(made, "__module__", None) != module:
            continue
        if inspect.isfunction(made):
            assert not _takes(made, Connection, Database), f"{name} takes a connection and no context"
        elif inspect.isclass(made) and not issubclass(made, Repository):
            methods = [method for method in vars(made).values() if inspect.isfunction(method)]
            assert not any(_takes(method, Connection, Database) for method in methods), f"{name} is no repository"


@pytest.mark.parametrize("module", MODULES)
def test_a_repository_is_made_from_a_context_and_asked_for_no_user(module: str) -> None:
    """The context is the first thing that makes one, and no public method takes the id of a user."""
    for repository in vars(importlib.import_module(module)).values():
        if not (inspect.isclass(repository) and issubclass(repository, Repository)):
            continue
        _, first, *_ = inspect.signature(repository.__init__).parameters
        assert get_type_hints(repository.__init__)[first] is UserExecutionContext
        for name, method in inspect.getmembers(repository, inspect.isfunction):
            if not name.startswith("_"):
                assert {"user_id", "owner_id", "owner"}.isdisjoint(inspect.signature(method).parameters)


def test_every_row_has_an_owner() -> None:
    """Every table begins its key with the user's id, and its other columns hang on it."""
    for table in tables.metadata.sorted_tables:
        assert next(iter(table.primary_key)) is table.c.user_id


def test_every_system_operation_is_marked() -> None:
    """What reaches rows in the closed list takes on its role by the mark, and so gives it back."""
    tree = ast.parse(inspect.getsource(system_operations))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert [ast.unparse(mark) for mark in node.decorator_list] == ["_system_operation"], node.name


def _takes(function: object, *kinds: type) -> bool:
    hints = get_type_hints(function)
    return any(hint in kinds for name, hint in hints.items() if name != "return")

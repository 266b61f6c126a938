"""Does the suite notice when an owner criterion is gone? One is taken out at a time, and the ownership tests must fail.

    python -m tests.support.mutants [--list] [--only TEXT] [--part 1/3] [--at-once]

What is taken out is found in the code, so that a new criterion, key or rule is among them without being named:

- a criterion: `own(table)`, an equality of owners, the user in a key, in every statement of repositories and ledger;
- the user of a transaction, of a new row and of a key in memory, in repositories, runs, sockets and routes;
- the rule of each route and frame, taken out or weakened, and each id that it takes;
- the identity: taken from where a client can write it.

Each is applied to a copy of the sources and meets the ownership tests over SQLite, up to the first that fails. One of a
rule is held against the app first, as every start does it: an app that is not built fails them all. Exit code 1 when
one was not noticed.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
APP: Final = "netra_backend/app"
TESTS: Final = (
    "tests/unit/api/test_ownership.py",
    "tests/unit/api/test_accounts.py",
    "tests/unit/api/test_document.py",
    "tests/unit/api/test_threads.py",
    "tests/unit/db/test_ownership_by_construction.py",
    "tests/unit/db/test_repositories.py",
    "tests/integration/test_ownership_matrix.py",
    "tests/integration/test_incidents.py",
    "tests/unit/runs/test_ledger.py",
    "tests/unit/runs/test_run_service.py",
    "tests/unit/runs/test_dispatch_local.py",
    "tests/unit/runs/test_admission.py",
    "tests/unit/runs/test_stored_bytes.py",
    "tests/unit/realtime/test_hub.py",
    "tests/unit/realtime/test_connection.py",
    "tests/unit/db/test_eraser.py",
    "tests/unit/test_main.py",
)
LIMIT_S: Final = 300
BROKEN: Final = 99
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of its own is made in it; no test waits for a disk there
LIBRARIES: Final = (
    *("alembic.command", "blockbuster", "fastapi", "httpx", "hypothesis", "jwt", "orjson", "prometheus_client"),
    *("psycopg", "pwdlib.hashers.argon2", "pydantic_settings", "pytest_asyncio", "sqlalchemy", "structlog"),
    *("uvicorn", "websockets.asyncio.client"),
)
"""What every test run loads: it is loaded once, and each mutant begins with it."""
COPIED: Final = ("netra_backend", "netra_golden_path", "netra_cli.py", "tests", "pyproject.toml")

CRITERIA: Final = (f"{APP}/db/repositories/*.py", f"{APP}/runs/ledger.py")
KEYS: Final = (f"{APP}/runs/*.py", f"{APP}/realtime/*.py", f"{APP}/api/*.py")
REGISTRY: Final = f"{APP}/api/ownership.py"

_TRUE: Final = '__import__("sqlalchemy").true()'
_ITEM: Final = (
    '__import__("netra_backend.app.db.keys", fromlist=["_Item"])._Item('
    'KEYS.c.value, __import__("sqlalchemy").literal_column("0"))'
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        begin: where in the file's bytes it begins.
        end: where it ends.
        text: what stands there then.
        what: it is, for people.
    """

    file: str
    begin: int
    end: int
    text: str
    what: str

    def apply(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.begin] + self.text.encode() + source[self.end :]


class _File:
    def __init__(self, name: str) -> None:
        self.name = name
        self.source = (ROOT / name).read_bytes()
        self.tree = ast.parse(self.source)
        self._starts = [0]
        for line in self.source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def text(self, node: ast.AST) -> str:
        begin, end = self._span(node)
        return " ".join(self.source[begin:end].decode().split())

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.keyword | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self._starts[node.lineno - 1] + node.col_offset
        return begin, self._starts[node.end_lineno - 1] + node.end_col_offset

    def instead(self, node: ast.AST, text: str, what: str) -> Mutant:
        begin, end = self._span(node)
        line = getattr(node, "lineno", 0)
        return Mutant(self.name, begin, end, text, f"{self.name}:{line}: {what}: {self.text(node)}")


def _files(patterns: Sequence[str]) -> Iterator[_File]:
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if path.name != "ownership.py":
                yield _File(path.relative_to(ROOT).as_posix())


def _is_user(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="user_id" | "_user_id") | ast.Name(id="user_id"):
            return True
    return False


def criteria() -> Iterator[Mutant]:
    """Without the owner's criterion of a statement, or the user of a transaction or row."""
    for file in _files(CRITERIA):
        for node in ast.walk(file.tree):
            match node:
                case ast.Call(func=ast.Name(id="own"), args=[_]):
                    yield file.instead(node, _TRUE, "without the criterion")
                case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) if _is_column(left) or _is_column(
                    right
                ):
                    yield file.instead(node, _TRUE, "without the criterion")
                case ast.Call(func=ast.Name(id="is_key"), args=[first, *_]) if _is_user(first):
                    yield file.instead(first, _ITEM, "any user in the key")
                case ast.Call(func=ast.Attribute(attr="read_for"), args=[user, *_]):
                    yield file.instead(user, '""', "a transaction of nobody")
                case ast.keyword(arg="user_id", value=value) if _is_user(value):
                    yield file.instead(value, "None", "a transaction of nobody")
                case ast.Dict(keys=keys, values=values):
                    for key, value in zip(keys, values, strict=True):
                        if isinstance(key, ast.Constant | ast.Name) and _is_user(value):
                            yield file.instead(value, '"nobody"', "a row of nobody")


def _is_column(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Attribute(attr="c") | ast.Name(id="thread" | "user"), attr="user_id"):
            return True
    return False


def keys() -> Iterator[Mutant]:
    """Without the user in a key of something that is kept in memory, or asked of the ledger."""
    for file in _files(KEYS):
        for node in ast.walk(file.tree):
            match node:
                case ast.Tuple(elts=[first, _, *_], ctx=ast.Load()) if _is_user(first):
                    yield file.instead(first, '""', f"a key without its user in {file.text(node)}")
                case ast.Subscript(value=ast.Attribute(), slice=key) if _is_user(key):
                    yield file.instead(key, '""', f"a key without its user in {file.text(node)}")


def rules() -> Iterator[Mutant]:
    """Without the rule of a route or frame, with a weaker one, or without an id that it takes."""
    file = _File(REGISTRY)
    for statement in file.tree.body:
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        name, entries = statement.target.id, statement.value
        if name in ("ROUTES", "FRAMES") and isinstance(entries, ast.Dict):
            for key, rule in zip(entries.keys, entries.values, strict=True):
                assert key is not None
                about = file.text(key)
                yield file.instead(key, '("GET", "/nowhere")', "no rule for it")
                if file.text(rule) not in ("OwnerRule.PUBLIC", "OwnerRule.OPERATOR"):
                    yield file.instead(rule, "OwnerRule.PUBLIC", f"anybody's: {about}")
        elif name == "IDS" and isinstance(entries, ast.Dict):
            for key, positions in zip(entries.keys, entries.values, strict=True):
                assert key is not None
                assert isinstance(positions, ast.Tuple)
                for position in positions.elts:
                    yield file.instead(position, "*()", f"not an id of {file.text(key)}")


_CONTEXT: Final = "request, principal.user_id"
IDENTITIES: Final = (
    (f"{APP}/api/dependencies.py", _CONTEXT, 'request, request.query_params.get("user_id", principal.user_id)'),
    (f"{APP}/api/dependencies.py", _CONTEXT, 'request, request.headers.get("x-user-id", principal.user_id)'),
    (f"{APP}/api/dependencies.py", _CONTEXT, 'request, request.cookies.get("user_id", principal.user_id)'),
    (f"{APP}/realtime/messages.py", 'extra="forbid", frozen=True', 'extra="allow", frozen=True'),
    (f"{APP}/api/threads.py", 'extra="forbid"', 'extra="allow"'),
    (f"{APP}/realtime/connection.py", "if principal.user_id != self._who.user_id:", "if False:"),
)


def identities() -> Iterator[Mutant]:
    """With an identity that the client can write."""
    for name, before, after in IDENTITIES:
        source = (ROOT / name).read_bytes()
        begin = source.index(before.encode())
        line = source[:begin].count(b"\n") + 1
        yield Mutant(name, begin, begin + len(before.encode()), after, f"{name}:{line}: the identity: {after}")


def all_mutants() -> list[Mutant]:
    """Every mutant, in a stable order."""
    return [*criteria(), *keys(), *rules(), *identities()]


def judge(mutant: Mutant, folder: Path, tests: Sequence[str]) -> str | None:
    """Which test fails first on a mutant in a copy of the sources; None when none does."""
    path = folder / mutant.file
    before = path.read_bytes()
    path.write_bytes(mutant.apply(before))
    output = folder / "output"
    try:
        child = os.fork()
        if not child:
            _run(folder, output, lambda: _test(_likeliest_first(mutant, tests)))
        status = _end_of(child)
    finally:
        path.write_bytes(before)
    if status is None:
        return f"no end within {LIMIT_S} s"
    if status == pytest.ExitCode.OK:
        return None
    told = output.read_text()
    failed = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not failed or "::" not in failed[0]:  # not a test has failed: nothing was tried
        raise RuntimeError(f"{mutant.what}: the tests could not be run: {told.strip()[-2000:]}")
    return failed[0].split(" - ")[0].partition(" ")[2]


def _test(tests: Sequence[str]) -> int:
    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=no", "--timeout=30"]
    options += [
        f"--basetemp={Path.cwd() / 'tmp'}",
        "-W",
        "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
    ]
    return int(pytest.main([*options, "-k", "not postgresql", *tests]))


def _run(folder: Path, output: Path, work: Callable[[], int]) -> NoReturn:
    """Be a fresh process with the libraries loaded: work on the copy, and end."""
    code = BROKEN
    try:
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.chdir(folder)
        sys.path[0] = str(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "netra_backend")]:
            del sys.modules[name]
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_of(child: int) -> int | None:
    """The exit code of a process; None when it had to be ended."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def judge_rules(mutants: Sequence[Mutant], folder: Path) -> dict[Mutant, str]:
    """What a start of the app says to mutants of the registry; those to which it says nothing are left out."""
    output = folder / "output"
    child = os.fork()
    if not child:
        _run(folder, output, lambda: _tell_of_rules(mutants, folder / "told"))
    if _end_of(child) != 0:
        raise RuntimeError(f"the app could not be built: {output.read_text()[-2000:]}")
    told: list[str | None] = json.loads((folder / "told").read_text())
    return {mutant: said for mutant, said in zip(mutants, told, strict=True) if said is not None}


def _tell_of_rules(mutants: Sequence[Mutant], target: Path) -> int:
    from netra_backend.app.api.dependencies import signed_in
    from netra_backend.app.config import Settings
    from netra_backend.app.main import create_app
    from netra_backend.app.realtime.messages import FRAMES

    told: list[str | None] = []
    with tempfile.TemporaryDirectory() as data:
        app = create_app(Settings(data_dir=Path(data)))
        for mutant in mutants:
            module = ModuleType("mutant_of_the_registry")
            sys.modules[module.__name__] = module  # its dataclasses look there
            exec(compile(mutant.apply((ROOT / REGISTRY).read_bytes()), REGISTRY, "exec"), vars(module))  # noqa: S102  # our own source
            try:
                module.check(app, FRAMES, signed_in)
            except module.OwnershipError as error:
                told.append(f"the app is not built: {error}")
            else:
                told.append(None)
    target.write_text(json.dumps(told))
    return 0


def _likeliest_first(mutant: Mutant, tests: Sequence[str]) -> list[str]:
    """The tests, those of the file's own name before the others."""
    stem = "repositories" if "/repositories/" in mutant.file else Path(mutant.file).stem
    return sorted(tests, key=lambda test: Path(test).stem != f"test_{stem}")


def main(argv: Sequence[str] | None = None) -> int:
    """Take out one after the other, and tell what became of it."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--list", action="store_true", help="tell them, and do nothing")
    parser.add_argument("--only", default="", help="those whose description holds this text")
    parser.add_argument("--part", default="1/1", help="the first of three: 1/3")
    parser.add_argument("--at-once", action="store_true", help="without seeing first that the tests pass unchanged")
    options = parser.parse_args(argv)
    number, _, parts = options.part.partition("/")
    chosen = [mutant for mutant in all_mutants() if options.only in mutant.what][int(number) - 1 :: int(parts)]
    if options.list:
        print("\n".join(mutant.what for mutant in chosen), len(chosen), sep="\n")
        return 0
    for library in LIBRARIES:
        importlib.import_module(library)
    tests = [test for test in TESTS if (ROOT / test).exists()]
    survivors = []
    with tempfile.TemporaryDirectory(prefix="netra-mutants-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        for copied in COPIED:
            source = ROOT / copied
            if source.is_dir():
                shutil.copytree(source, folder / copied, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / copied)
        # Compiled once, by the hash of its source: a change and its undoing may come within one tick of the clock.
        compiled = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", str(folder)]
        subprocess.run([sys.executable, *compiled], check=True)
        unchanged = None if options.at_once else judge(Mutant(REGISTRY, 0, 0, "", "nothing"), folder, tests)
        if unchanged is not None:
            print(f"the tests fail without a mutant: {unchanged}", file=sys.stderr)
            return 2
        told = judge_rules([mutant for mutant in chosen if mutant.file == REGISTRY], folder)
        for mutant in chosen:
            began = time.monotonic()
            caught_by = told.get(mutant) or judge(mutant, folder, tests)
            if caught_by is None:
                survivors.append(mutant)
            outcome = "NOT NOTICED" if caught_by is None else f"caught by {caught_by}"
            print(f"{mutant.what}\n    {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - len(survivors)} caught, {len(survivors)} not noticed")
    for mutant in survivors:
        print(f"    {mutant.what}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

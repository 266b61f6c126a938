"""The type server's client: against the installed engine, and against servers that do not do what they should."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from netra_repair import engine, type_server
from netra_repair.errors import CheckerError
from netra_repair.inferred import (
    ClassType,
    FunctionType,
    InferredType,
    ModuleType,
    UnionType,
    UnknownType,
    VariableType,
)
from netra_repair.project import Project, discover
from netra_repair.source import Source, Span
from netra_repair.type_server import TypeServer

CTX = """\
from typing import Generic, Self, TypeVar


class Base:
    @classmethod
    def made(cls) -> Self: ...


class Ctx(Base):
    def shown(self): ...


T = TypeVar("T", bound=Ctx)


class Box(Generic[T]):
    held: T
"""

KINDS = """\
import enum
import functools
import os.path
import absent
import pkg.ctx
import pkg.ctx as other
from typing import Any, Callable, NamedTuple, TypedDict, overload
from pkg.ctx import Base, Box, Ctx, T
class Colour(enum.Enum):
    RED = 1
class Pair(NamedTuple):
    left: int
class Shape(TypedDict):
    side: int
@overload
def over(a: int) -> int: ...
@overload
def over(a: str) -> str: ...
def over(a): return a
async def later() -> Ctx: ...
K = Ctx
def f(
    t: T, c: type[T], b: Box[Ctx], o: Ctx | None, u: Ctx | Base, k: type[Ctx | Base], s: Shape, a: Any, n, p: Pair,
    e: Colour, m: Ctx | Any, call: Callable[[], int]
):
    here
def g[W: Ctx](w: W, v: type[W]):
    here
"""

# What stands in the functions, and what it is: `Ctx` for the class, `Ctx()` for an instance.
TYPES = {
    "Ctx": "pkg/ctx.py:9 Ctx",
    "K": "pkg/ctx.py:9 Ctx",
    "Ctx()": "pkg/ctx.py:9 Ctx()",
    "Ctx.made()": "pkg/ctx.py:9 Ctx()",
    "type(Ctx())": "pkg/ctx.py:9 Ctx",
    "b.held": "pkg/ctx.py:9 Ctx()",
    "[Ctx()][0]": "pkg/ctx.py:9 Ctx()",
    "(lambda: Ctx())()": "pkg/ctx.py:9 Ctx()",
    "o or Ctx()": "pkg/ctx.py:9 Ctx()",
    "Ctx().shown": "pkg/ctx.py:10 shown bound to pkg/ctx.py:9 Ctx()",
    "Ctx.made": "pkg/ctx.py:6 made bound to pkg/ctx.py:9 Ctx",
    "later": "pkg/kinds.py:20 later",
    "over": "pkg/kinds.py:16 over",
    "e": "pkg/kinds.py:9 Colour()",
    "Colour.RED": "pkg/kinds.py:9 Colour()",
    "p": "pkg/kinds.py:11 Pair()",
    "s": "pkg/kinds.py:13 Shape()",
    "u": "pkg/ctx.py:4 Base() | pkg/ctx.py:9 Ctx()",
    "k": "pkg/ctx.py:4 Base | pkg/ctx.py:9 Ctx",
    "m": "pkg/ctx.py:9 Ctx() | its type is Any",
    "t": "pkg/ctx.py:13 T, a variable ()",
    "c": "pkg/ctx.py:13 T, a variable",
    "w": "W, a variable ()",
    "v": "W, a variable",
    "pkg.ctx": "module pkg.ctx pkg/ctx.py",
    "other": "module pkg.ctx pkg/ctx.py",
    "pkg": "module pkg pkg/__init__.py",
    "absent": "module absent None",
    "a": "its type is Any",
    "n": "its type is Any",
    "absent.thing": "its type is Any",
    "call": "it is a callable without a definition",
    "functools.partial(f)": "it is a callable without a definition",
    "(1, 2)": "it is a tuple or a bytes literal",
    "b'x'": "it is a tuple or a bytes literal",
    "(Ctx)": "the code is unreachable, or there is no expression",
}
LIBRARY_TYPES = {
    "'text'": "str()",
    "1": "int()",
    "True": "bool()",
    "[]": "list()",
    "None": "NoneType()",
    "later()": "Coroutine()",
    "dict": "dict",
    "os.path": "module os.path",
    "print": "print",
}


def project(root: Path, files: Mapping[str, str]) -> Project:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return discover(root, Path(sys.executable))


def told(found: InferredType, root: Path) -> str:
    """A type in short: place and name, with () for an instance."""

    def shown(file: Path | None) -> str:
        return file.relative_to(root).as_posix() if file and file.is_relative_to(root) else str(file and "")

    match found:
        case ClassType(name, file, line, is_class_object):
            place = f"{shown(file)}:{line} " if file.is_relative_to(root) else ""
            return f"{place}{name}{'' if is_class_object else '()'}"
        case ModuleType(name, file):
            return f"module {name} {shown(file)}".rstrip()
        case FunctionType(name, file, line, bound_to):
            place = f"{shown(file)}:{line} " if file.is_relative_to(root) else ""
            return f"{place}{name}" + (f" bound to {told(bound_to, root)}" if bound_to else "")
        case VariableType(name, file, line, is_class_object):
            place = f"{shown(file)}:{line} " if file else ""
            return f"{place}{name}, a variable{'' if is_class_object else ' ()'}"
        case UnionType(parts):
            return " | ".join(told(part, root) for part in parts)
        case UnknownType(reason):
            return reason


def ask(server: TypeServer, root: Path, path: str, expression: str, *, nth: int = 0) -> str:
    """Asks for the nth place of an expression in a file."""
    source = Source.read(root, path)
    at = -1
    for _ in range(nth + 1):
        at = source.text.index(expression, at + 1)
    span = Span(source.offset_of_index(at), source.offset_of_index(at + len(expression)))
    return told(server.type_of(source, span), root)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TypeServer, Path]]:
    """A server that runs for a small project, and the project's root."""
    root = tmp_path_factory.mktemp("lab").resolve()
    lines = "\n".join(f"    {expression}" for expression in [*TYPES, *LIBRARY_TYPES])
    files = {"pkg/__init__.py": "", "pkg/ctx.py": CTX, "pkg/kinds.py": KINDS.replace("    here", lines)}
    with TypeServer(project(root, files)) as server:
        yield server, root


class TestTypes:
    @pytest.mark.parametrize("expression", TYPES)
    def test_of_the_project(self, expression: str, asked: tuple[TypeServer, Path]) -> None:
        """Every kind of type that the engine gives is understood, with the place of its definition."""
        server, root = asked
        nth = 1 if expression in ("w", "v") else 0
        assert self.told(server, root, expression, nth) == TYPES[expression]

    @pytest.mark.parametrize("expression", LIBRARY_TYPES)
    def test_of_the_standard_library(self, expression: str, asked: tuple[TypeServer, Path]) -> None:
        """Types of the standard library have their names; their files are the engine's own stubs."""
        assert self.told(*asked, expression, 0) == LIBRARY_TYPES[expression]

    def told(self, server: TypeServer, root: Path, expression: str, nth: int) -> str:
        source = Source.read(root, "pkg/kinds.py")
        at = -1
        for _ in range(nth + 1):
            at = source.text.index(f"\n    {expression}\n", at + 1)
        start = source.offset_of_index(at + 5)
        return told(server.type_of(source, Span(start, start + len(expression.encode()))), root)

    def test_of_what_cannot_be_reached(self, tmp_path: Path) -> None:
        """In a branch that is never taken, and where there is no expression, nothing is known."""
        code = (
            "import sys\nclass C: ...\nif sys.version_info < (3,):\n    C.a\n"
            "def f(own: C):\n    if not isinstance(own, C):\n        own.b\n"
        )
        found = project(tmp_path, {"a.py": code})
        with TypeServer(found) as server:
            assert ask(server, found.root, "a.py", "C.a") == type_server.NOTHING.reason
            assert ask(server, found.root, "a.py", "own", nth=2) == "the code is unreachable"
            assert ask(server, found.root, "a.py", "import sys") == type_server.NOTHING.reason


class TestPlaces:
    def test_in_texts_that_are_counted_in_many_ways(self, tmp_path: Path) -> None:
        """BOM, CRLF, lone CR, form feed, U+2028, emoji, combining marks and tabs: the expression is found."""
        text = (
            "\ufefffrom pkg.ctx import Ctx; Ctx.a1\r\n"
            '"é😀"; Ctx.a2\r\n'
            '\x0cCtx.a3; "\u2028"; Ctx.a4\r'
            "if Ctx:\n"
            "\tCtx.a5; 'e\u0301'; Ctx.a6\n"
            'f"{Ctx.a7!r}😀{Ctx.a8}"\n'
            'x: "Ctx.a9"\n'
            "(Ctx\n  # between\n  .a10)\n"
        )
        found = project(tmp_path, {"pkg/__init__.py": "", "pkg/ctx.py": CTX, "sp ace/é #%?😀.py": text})
        source = Source.read(found.root, "sp ace/é #%?😀.py")
        with TypeServer(found) as server:
            for number in range(1, 11):
                end = source.text.index(f".a{number}")
                at = source.text.rindex("Ctx", 0, end)
                span = Span(source.offset_of_index(at), source.offset_of_index(at + 3))
                assert told(server.type_of(source, span), found.root) == "pkg/ctx.py:9 Ctx", number

    def test_in_files_that_the_engine_cannot_read(self, tmp_path: Path) -> None:
        """A file that is not UTF-8, or is not there, is no error: nothing is known of it."""
        found = project(tmp_path, {"a.py": "class C: ...\nC\n"})
        (found.root / "latin.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\nclass C: ...\nC.x\n")
        with TypeServer(found) as server:
            assert ask(server, found.root, "latin.py", "C", nth=1).startswith("the code is unreachable, or")
            missing = Source.of("missing.py", b"C\n")
            assert isinstance(server.type_of(missing, Span(0, 1)), UnknownType)


class TestAhead:
    def test_what_was_asked_ahead_is_answered_the_same(self, asked: tuple[TypeServer, Path]) -> None:
        """Questions that were sent ahead, also twice, get the answers that they get alone, in any order."""
        server, root = asked
        source = Source.read(root, "pkg/kinds.py")
        wanted = {expression: told for expression, told in TYPES.items() if expression not in ("w", "v")}
        spans = {}
        for expression in wanted:
            start = source.offset_of_index(source.text.index(f"\n    {expression}\n") + 5)
            spans[expression] = Span(start, start + len(expression.encode()))
        server.ask_ahead(source, spans.values())
        server.ask_ahead(source, spans.values())
        found = {expression: told(server.type_of(source, spans[expression]), root) for expression in reversed(spans)}
        assert found == wanted

    def test_a_change_makes_what_was_asked_ahead_stale(self, tmp_path: Path) -> None:
        """What was asked before a file was written is asked again afterwards."""
        found = project(tmp_path, {"ctx.py": "class A: ...\nclass B: ...\nC = A\n", "use.py": "import ctx\nctx.C\n"})
        source = Source.read(found.root, "use.py")
        with TypeServer(found) as server:
            server.ask_ahead(source, [Span(11, 16)])
            project(found.root, {"ctx.py": "class A: ...\nclass B: ...\nC = B\n"})
            server.changed(["ctx.py"])
            assert told(server.type_of(source, Span(11, 16)), found.root) == "ctx.py:2 B"


class TestChanges:
    def test_of_files_are_seen(self, tmp_path: Path) -> None:
        """After a file was edited, added or removed, the next answer is about what lies on disk then."""
        found = project(
            tmp_path,
            {"pkg/ctx.py": "class A: ...\ndef made() -> A: ...\n", "use.py": "import pkg.ctx\npkg.ctx.made()\n"},
        )
        with TypeServer(found) as server:
            server.changed(["use.py"])  # before the first question: nothing is running, nothing is to be told
            assert ask(server, found.root, "use.py", "pkg.ctx.made()") == "pkg/ctx.py:1 A()"
            project(
                found.root,
                {"pkg/ctx.py": "\n\nfrom pkg.new import B\ndef made() -> B: ...\n", "pkg/new.py": "class B: ...\n"},
            )
            server.changed(["pkg/ctx.py", "pkg/new.py"])
            assert ask(server, found.root, "use.py", "pkg.ctx.made()") == "pkg/new.py:1 B()"
            project(found.root, {"use.py": "# moved\nimport pkg.ctx\n\npkg.ctx.made()\n"})
            server.changed(["use.py"])
            assert ask(server, found.root, "use.py", "pkg.ctx.made()") == "pkg/new.py:1 B()"
            (found.root / "pkg/new.py").unlink()
            server.changed(["pkg/new.py"])
            assert ask(server, found.root, "use.py", "pkg.ctx.made()") == "its type is Any"
            server.changed([])
            assert ask(server, found.root, "use.py", "pkg.ctx.made()") == "its type is Any"

    def test_that_others_tell_of_between_two_questions(self, tmp_path: Path) -> None:
        """A snapshot that has become old is renewed and the question asked again."""
        found = project(tmp_path, {"use.py": "class A: ...\nA()\n"})
        with TypeServer(found) as server:
            assert ask(server, found.root, "use.py", "A()") == "use.py:1 A()"
            server.changed(["use.py"])
            server._snapshot = 0
            assert ask(server, found.root, "use.py", "A()") == "use.py:1 A()"


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


class TestProcess:
    def test_starts_with_the_first_question_and_ends_with_the_block(self, tmp_path: Path) -> None:
        """No process before it is needed, none after the block, none when the block is left by an exception."""
        found = project(tmp_path, {"a.py": "class A: ...\nA\n"})
        before = children()
        during = []
        with suppress(KeyboardInterrupt), TypeServer(found) as server:
            during.append(children() - before)
            ask(server, found.root, "a.py", "A", nth=1)
            during.append(children() - before)
            raise KeyboardInterrupt
        assert ([len(new) for new in during], children()) == ([0, 1], before)

    def test_starts_anew_after_it_was_closed(self, tmp_path: Path) -> None:
        """Closing twice is fine, and a question after it starts another process."""
        found = project(tmp_path, {"a.py": "class A: ...\nA\n"})
        with TypeServer(found) as server:
            assert ask(server, found.root, "a.py", "A", nth=1) == "a.py:1 A"
            server.close()
            server.close()
            assert ask(server, found.root, "a.py", "A", nth=1) == "a.py:1 A"

    def test_ends_when_its_owner_is_killed(self, tmp_path: Path) -> None:
        """Whoever kills this tool leaves no server behind: it ends when its input does."""
        project(tmp_path, {"a.py": "class A: ...\n"})
        code = (
            "import sys; from pathlib import Path; from netra_repair.project import Project\n"
            "from netra_repair.source import Source, Span; from netra_repair.type_server import TypeServer\n"
            f"root = Path({str(tmp_path)!r})\n"
            "server = TypeServer(Project(root, Path(sys.executable), '3.11.7', (root,), (), ('a.py',), ()))\n"
            "server.type_of(Source.of('a.py', b'class A: ...'), Span(6, 7))\n"
            "print(server._connection._process.pid, flush=True); sys.stdin.read()\n"
        )
        owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        owner.communicate()
        server.wait(timeout=20)

    def test_killed_in_between_is_an_error(self, tmp_path: Path) -> None:
        """A server that dies is an error with how it ended, and the process is gone afterwards."""
        found = project(tmp_path, {"a.py": "class A: ...\nA\n"})
        before = children()
        with TypeServer(found) as server:
            ask(server, found.root, "a.py", "A", nth=1)
            (number,) = children() - before
            psutil.Process(number).send_signal(signal.SIGKILL)
            with pytest.raises(CheckerError, match=r"ended with -9|cannot be written to"):
                ask(server, found.root, "a.py", "A", nth=1)
        assert children() == before


# A server that is correct so far; what it does then is put in the place of the last lines.
SERVER = """
import json, signal, sys, time
def read():
    length = 0
    while (line := sys.stdin.buffer.readline().strip()):
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return json.loads(sys.stdin.buffer.read(length)) if length else sys.exit(7)
def write(**message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Type: x\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    sys.stdout.buffer.flush()
results = {"initialize": {}, "typeServer/getSupportedProtocolVersion": "0.4.1", "typeServer/getSnapshot": 0}
print("starting", "up", sep="\\n", file=sys.stderr, flush=True)
def serve():
    while True:
        message = read()
        if "id" in message:
            yield message
            write(id=message["id"], result=results.get(message["method"]))
"""


class TestOthers:
    """Servers that do not do what they should."""

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], TypeServer]:
        def made(code: str) -> TypeServer:
            script = tmp_path / "server.py"
            script.write_text(SERVER + code)
            path = tmp_path / "pyrefly"
            version = 'if [ "$1" = --version ]; then echo pyrefly 1.4.1; exit; fi'
            path.write_text(f"#!/bin/sh\n{version}\nexec {sys.executable} -u {script}\n")
            path.chmod(0o755)
            monkeypatch.setattr(engine, "_binary", lambda: path)
            return TypeServer(project(tmp_path / "root", {"a.py": "A\n"}))

        return made

    def ask(self, server: TypeServer) -> InferredType:
        return server.type_of(Source.of("a.py", b"A\n"), Span(0, 1))

    def fails(self, server: TypeServer, words: str) -> CheckerError:
        before = children()
        with pytest.raises(CheckerError, match=words) as caught, server:
            self.ask(server)
        assert children() == before
        return caught.value

    def test_one_that_works(self, fake: Callable[[str], TypeServer]) -> None:
        """The made-up server below is correct when it is left alone: `null` is no type."""
        with fake("for message in serve(): pass\n") as server:
            assert self.ask(server) == type_server.NOTHING

    def test_one_that_asks_back(self, fake: Callable[[str], TypeServer]) -> None:
        """The server's own requests are answered, and its notifications are passed over."""
        code = """
for message in serve():
    write(method="window/logMessage", params={})
    write(id="mine", method="workspace/configuration", params={"items": []})
    assert read() == {"jsonrpc": "2.0", "id": "mine", "result": None} or sys.exit(8)
"""
        with fake(code) as server:
            assert self.ask(server) == type_server.NOTHING

    def test_one_that_answers_in_another_order(self, fake: Callable[[str], TypeServer]) -> None:
        """Each question gets its own answer, whichever comes first."""
        code = """
waiting = []
while True:
    message = read()
    if "Computed" in message.get("method", ""):
        waiting.append(message)
        if len(waiting) == 3:
            for each in reversed(waiting):
                line = each["params"]["arg"]["range"]["start"]["line"]
                write(id=each["id"], result={"kind": 0, "name": f"line {line}"})
    elif "id" in message:
        write(id=message["id"], result=results.get(message["method"]))
"""
        source = Source.of("a.py", b"A\nB\nC\n")
        spans = [Span(0, 1), Span(2, 3), Span(4, 5)]
        with fake(code) as server:
            server.ask_ahead(source, spans)
            found = [server.type_of(source, spans[number]) for number in (1, 0, 2)]
        assert found == [UnknownType(f"its type is line {number}") for number in (1, 0, 2)]

    def test_one_of_another_protocol(self, fake: Callable[[str], TypeServer]) -> None:
        """A protocol version that is not understood is refused, with both versions."""
        code = 'results["typeServer/getSupportedProtocolVersion"] = "0.5.0"\nfor message in serve(): pass\n'
        self.fails(fake(code), r"speaks version 0\.5\.0 .*0\.4\.x is understood; its last words: up")

    def test_one_that_ends(self, fake: Callable[[str], TypeServer]) -> None:
        """A server that ends at once, or in the middle, is an error with its exit code."""
        self.fails(fake("sys.exit(3)\n"), "ended with 3 instead of giving initialize|cannot be written to")
        self.fails(
            fake("for message in serve():\n    if 'Type' in message['method']: sys.exit(4)\n"),
            "ended with 4 instead of giving typeServer/getComputedType",
        )

    def test_one_that_is_silent(self, fake: Callable[[str], TypeServer], monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that does not answer within the limit is an error, and is ended."""
        monkeypatch.setattr(type_server, "_ANSWERS_WITHIN", 0.05)
        self.fails(fake("while True: read()\n"), r"gave no initialize within 0\.05 s")

    def test_one_that_does_not_end(self, fake: Callable[[str], TypeServer], monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that neither heeds the end of its input nor a polite signal is killed."""
        monkeypatch.setattr(type_server, "_ENDS_WITHIN", 0.05)
        code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for message in serve():
    if "Computed" in message["method"]:
        write(id=message["id"], result=None)
        while True: time.sleep(60)
"""
        before = children()
        with fake(code) as server:
            assert self.ask(server) == type_server.NOTHING
        assert children() == before

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"result": {"kind": 3}}, "answers what is not understood .*declaration"),
            ({"result": []}, "answers what is not understood"),
            ({"error": {"code": -32603, "message": "poisoned"}}, "refuses typeServer/getComputedType: .*poisoned"),
        ],
    )
    def test_one_that_says_something_else(
        self, answer: dict[str, object], words: str, fake: Callable[[str], TypeServer]
    ) -> None:
        """An answer in another form, and an error, are errors: never taken for an unknown type."""
        code = f"""
for message in serve():
    if "Computed" in message["method"]:
        write(id=message["id"], **{answer!r})
        read()
"""
        self.fails(fake(code), words)

    def test_one_that_does_not_speak_the_framing(
        self, fake: Callable[[str], TypeServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Output that is no message ends the talk."""
        monkeypatch.setattr(type_server, "_ENDS_WITHIN", 0.05)
        self.fails(fake("print('Content-Length: none', flush=True)\nread()\nread()\n"), "stopped speaking instead of")

    def test_a_kind_that_is_new(self, fake: Callable[[str], TypeServer]) -> None:
        """A kind of type that this version of the protocol does not have yet is unknown, and says so."""
        code = "results['typeServer/getComputedType'] = {'kind': 42}\nfor message in serve(): pass\n"
        with fake(code) as server:
            assert self.ask(server) == UnknownType("its type is of kind 42 in the type server protocol")

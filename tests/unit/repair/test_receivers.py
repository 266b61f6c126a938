"""Which class or module stands left of a dot: with the installed engine, over a small project."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from netra_repair.definitions import Definitions
from netra_repair.project import Project, discover
from netra_repair.receivers import ImportReceivers, Receiver, Receivers, TypeServerReceivers
from netra_repair.source import Source, Span
from netra_repair.syntax import Syntax
from netra_repair.type_server import TypeServer

FILES = {
    "src/pkg/__init__.py": "from pkg.ctx import Ctx as Public\n",
    "src/pkg/ctx.py": """\
from typing import NewType, Self


class Base:
    @classmethod
    def made(cls, user: str) -> Self: ...

    @staticmethod
    def checked(user: str) -> None: ...

    def __call__(self, more: int) -> None: ...


class Ctx(Base):
    def __init__(self, user: str = "") -> None:
        self.user = user

    class Inner:
        @property
        def deep(self) -> "Ctx": ...

        @staticmethod
        def still(a): ...


class Plain: ...


Named = NewType("Named", Ctx)


def loaded(*, strict: bool) -> Ctx | None: ...


def around():
    def checked(a): ...

    return checked
""",
    "src/pkg/use.py": """\
import sys
from typing import Any, TypeVar
from unittest.mock import MagicMock, create_autospec, patch
import absent
import pkg.ctx
import pkg.ctx as other
from pkg import Public
from pkg.ctx import Base, Ctx, Named, Plain, around, loaded
K = Ctx
T = TypeVar("T", bound=Ctx)
S = TypeVar("S", bound="Ctx")
C = TypeVar("C", Ctx, "Base")
O = TypeVar("O", bound=Ctx | None)
U = TypeVar("U")
def f(
    t: T, kt: type[T], s: S, c: C, o: O, u: U, k: type[Ctx], either: Ctx | Base, maybe: Ctx | None, anything: Any, n,
    half: Ctx | Any, named: Named
):
    here
class Sub(Ctx):
    def own(self):
        self.gone_self
        super().gone_super
        super().made("a").gone_after
    @classmethod
    def of_class(cls):
        cls.gone_cls
        super(  ).gone_super_of_class
""",
    # A file of its own: definitions are read with the grammar of the Python that runs this.
    "src/pkg/new.py": """\
from pkg.ctx import Ctx
def g[W: Ctx, X](w: W, kw: type[W], x: X):
    w.gone_w
    kw.gone_kw
    x.gone_x
class Newer:
    def own(self): self.gone_own
""",
}

# What stands left of the dot, and what it is: `pkg.ctx.Ctx` for the class, `pkg.ctx.Ctx()` for an instance.
KNOWN = {
    "Ctx": "pkg.ctx.Ctx",
    "K": "pkg.ctx.Ctx",
    "Public": "pkg.ctx.Ctx",
    "k": "pkg.ctx.Ctx",
    "Ctx()": "pkg.ctx.Ctx()",
    "Ctx.made('a')": "pkg.ctx.Ctx()",
    "Ctx.Inner": "pkg.ctx.Ctx.Inner",
    "Ctx.Inner().deep": "pkg.ctx.Ctx()",
    "(Ctx)": "pkg.ctx.Ctx",
    "( ( K ) )": "pkg.ctx.Ctx",
    "(maybe or K())": "pkg.ctx.Ctx()",
    "either": "pkg.ctx.Base() | pkg.ctx.Ctx()",
    "maybe": "pkg.ctx.Ctx() | types.NoneType()",
    "t": "pkg.ctx.Ctx()",
    "kt": "pkg.ctx.Ctx",
    "s": "pkg.ctx.Ctx()",
    "c": "pkg.ctx.Ctx() | pkg.ctx.Base()",
    "o": "pkg.ctx.Ctx() | types.NoneType()",
    "pkg.ctx": "module pkg.ctx",
    "other": "module pkg.ctx",
    "pkg": "module pkg",
    "sys": "module sys",
    "'text'": "builtins.str()",
    "[]": "builtins.list()",
    "dict": "builtins.dict",
    "sys.path": "builtins.list()",
}
UNKNOWN = {
    "anything": "its type is Any",
    "n": "its type is Any",
    "half": "one of several types is not known: its type is Any",
    "u": "the type variable U has no bound",
    "absent": "the module `absent` cannot be found",
    "absent.Thing": "its type is Any",
    "loaded": "`loaded` is a function, and functions take any attribute",
    "Ctx().made": "`made` is a function, and functions take any attribute",
    "MagicMock(spec=Ctx)": "it is a mock, which takes any attribute",
    "create_autospec(Ctx)": "its type is Any",
    "named": "`Named` is not made by a class statement",
    "(1, 2)": "it is a tuple or a bytes literal",
    "not_defined": "its type is Any",
}

CALLEES = {
    "Ctx.made": "pkg.ctx.Base.made",
    "Ctx().made": "pkg.ctx.Base.made",
    "Ctx.checked": "pkg.ctx.Base.checked",
    "Ctx.Inner.still": "pkg.ctx.Ctx.Inner.still",
    "loaded": "pkg.ctx.loaded",
    "other.loaded": "pkg.ctx.loaded",
    "Ctx": "pkg.ctx.Ctx.__init__",
    "k": "pkg.ctx.Ctx.__init__",
    "Ctx()": "pkg.ctx.Base.__call__",
    "around()": None,  # the function inside, though a method has its name
    "anything": None,
    "either": None,
    "Plain()": None,
    "'text'.upper": "builtins.str.upper",
}


def project(root: Path, files: Mapping[str, str]) -> Project:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return discover(root, Path(sys.executable))


@dataclass(frozen=True)
class Lab:
    """A project with a running server; expressions are lines of one of its functions."""

    receivers: Receivers
    root: Path

    def place(self, expression: str) -> tuple[Source, Span]:
        source = Source.read(self.root, "src/pkg/use.py")
        start = source.offset_of_index(source.text.index(f"\n    {expression}.gone\n") + 5)
        return source, Span(start, start + len(expression.encode()))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("lab").resolve()
    lines = "\n".join(f"    {expression}.gone" for expression in [*KNOWN, *UNKNOWN, *CALLEES])
    found = project(root, FILES | {"src/pkg/use.py": FILES["src/pkg/use.py"].replace("    here", lines)})
    definitions = Definitions(found.root, found.search_paths, found.site_packages)
    with TypeServer(found) as server:
        yield Lab(TypeServerReceivers(found, definitions, server), root)


def told(receiver: Receiver) -> str:
    """Owners in short: a class, an instance with (), a module with its kind."""
    shown = {"class": "{}", "instance": "{}()", "module": "module {}"}
    return " | ".join(shown[access].format(owner.name) for owner, access in receiver.owners) or receiver.reason


class TestTypeServerReceivers:
    @pytest.mark.parametrize("expression", KNOWN)
    def test_knows_what_the_engine_can_tell(self, expression: str, lab: Lab) -> None:
        """Aliases, subclasses, unions, bounds and constraints of type variables lead to the classes themselves."""
        source, span = lab.place(expression)
        receiver = lab.receivers.of(source, span)
        assert (told(receiver), receiver.reason) == (KNOWN[expression], "")

    @pytest.mark.parametrize("expression", UNKNOWN)
    def test_says_why_it_does_not_know(self, expression: str, lab: Lab) -> None:
        """Nothing is guessed: without an owner there is a reason for the report."""
        source, span = lab.place(expression)
        receiver = lab.receivers.of(source, span)
        assert (receiver.owners, receiver.reason) == ((), UNKNOWN[expression])

    @pytest.mark.parametrize(
        ("attribute", "owner"),
        [
            ("gone_w", "pkg.ctx.Ctx()"),
            ("gone_kw", "pkg.ctx.Ctx"),
            ("gone_x", "the type variable X has no bound"),
            ("gone_self", "pkg.use.Sub()"),
            ("gone_super", "pkg.ctx.Ctx()"),
            ("gone_after", "pkg.use.Sub()"),
            ("gone_cls", "pkg.use.Sub"),
            ("gone_super_of_class", "pkg.ctx.Ctx"),
        ],
    )
    def test_knows_what_depends_on_what_is_around(self, attribute: str, owner: str, lab: Lab) -> None:
        """`super()` is the class itself in a class method; type parameters (PEP 695) stand for their bounds."""
        sources = (Source.read(lab.root, path) for path in ("src/pkg/use.py", "src/pkg/new.py"))
        matches = ((source, re.search(rf"^ +(.*)\.{attribute}$", source.text, re.MULTILINE)) for source in sources)
        source, match = next((source, match) for source, match in matches if match is not None)
        span = Span(source.offset_of_index(match.start(1)), source.offset_of_index(match.end(1)))
        assert told(lab.receivers.of(source, span)) == owner

    @pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads the newer grammar")
    def test_says_when_definitions_cannot_be_read(self, lab: Lab) -> None:
        """A class in a file with a grammar that is newer than this Python is no mystery: the file is named."""
        source = Source.read(lab.root, "src/pkg/new.py")
        start = source.offset_of_index(source.text.index("self.gone_own"))
        assert lab.receivers.of(source, Span(start, start + 4)).reason.endswith("new.py, not readable")

    def test_tells_where_owners_are(self, lab: Lab) -> None:
        """Owners inside the project have relative files and the line of the class statement."""
        ((owner, _),) = lab.receivers.of(*lab.place("Ctx")).owners
        assert (owner.file, owner.line, owner.is_inside) == ("src/pkg/ctx.py", 14, True)
        ((library, _),) = lab.receivers.of(*lab.place("[]")).owners
        assert not library.is_inside

    @pytest.mark.parametrize("expression", CALLEES)
    def test_tells_what_a_call_calls(self, expression: str, lab: Lab) -> None:
        """The callee is the very definition that the engine names, by its line; else nothing."""
        member = lab.receivers.callee(*lab.place(expression))
        assert (member and member.qualified_name) == CALLEES[expression]


class TestImportReceivers:
    FILES: Mapping[str, str] = {
        "pkg/__init__.py": "from pkg.ctx import Ctx\n",
        "pkg/ctx.py": "class Ctx: ...\n",
        "helpers.py": "class H: ...\n",
        "tests/test_a.py": "",
        "tests/helpers.py": "class H: ...\n",
    }

    @pytest.mark.parametrize(
        ("code", "owner"),
        [
            ("from pkg.ctx import Ctx\nCtx.gone()\n", "pkg.ctx.Ctx"),
            ("from pkg import Ctx as K\nK.gone\n", "pkg.ctx.Ctx"),
            ("import pkg.ctx as c\nc.Ctx.gone\n", "pkg.ctx.Ctx"),
            ("import pkg.ctx\npkg.ctx.gone\n", "module pkg.ctx"),
            ("from pkg.ctx import gone\n", "module pkg.ctx"),
            ("from helpers import H\nH.gone\n", "helpers.H"),
            ("import absent\nabsent.gone\n", "`absent` cannot be found"),
            ("def f(x): x.gone\n", "it does not follow from imports"),
        ],
    )
    def test_follows_imports(self, code: str, owner: str, tmp_path: Path) -> None:
        """A name that an import binds leads to its class or module; everything else is unknown."""
        assert self.asked(tmp_path, "use.py", code) == owner

    def test_trusts_no_name_that_means_several_files(self, tmp_path: Path) -> None:
        """Where a module's name depends on who runs the file, nothing follows from it."""
        told = self.asked(tmp_path, "tests/deep/use.py", "from helpers import H\nH.gone\n")
        assert told == "`helpers.H` means another file in another folder"

    def asked(self, root: Path, path: str, code: str) -> str:
        found = project(root, self.FILES)
        definitions = Definitions(found.root, found.search_paths, found.site_packages)
        syntax = Syntax.parse(Source.of(path, code.encode()), found.module_of(path))
        (reference,) = syntax.references(("gone",))
        return told(ImportReceivers(found, definitions).of(syntax, reference))

"""Definitions: what classes and modules have, told from the source alone. The oracle is Python itself."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import pytest

from netra_repair.definitions import Definitions
from netra_repair.owners import Access, Member, MemberKind, Owner, OwnerKind

Write = Callable[..., Definitions]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the files of a project, "/" for "__" in their names, and reads it."""

    def written(python_version: str | None = None, **files: str) -> Definitions:
        for name, text in files.items():
            path = tmp_path / ((name if "/" in name else name.replace("__", "/")) + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), "utf-8")
        return Definitions(tmp_path, [tmp_path], [tmp_path / "site"], python_version=python_version)

    return written


def owner(definitions: Definitions, name: str) -> Owner:
    """An owner that must be there."""
    found = definitions.named(name)
    assert found is not None, name
    return found


def member(definitions: Definitions, name: str, attribute: str) -> Member:
    """A member that must be there."""
    return definitions.members(owner(definitions, name))[attribute]


def takes(definitions: Definitions, name: str, attribute: str) -> str | None:
    """What a call of a member takes."""
    signature = member(definitions, name, attribute).signature
    return None if signature is None else str(signature)


# --- against Python ---

ORACLE = """
    argparse asyncio.queues asyncio.taskgroups cmd collections.abc concurrent.futures._base configparser contextlib csv
    email.message enum fractions html.parser http.cookiejar ipaddress json.decoder logging numbers pathlib queue random
    sched socketserver string tarfile tempfile textwrap threading unittest.case urllib.request uuid zipfile
""".split()

# What the class machinery adds to a class: no statement shows it.
MACHINERY = frozenset(
    "__abstractmethods__ __annotations__ __dict__ __doc__ __hash__ __match_args__ __module__ __orig_bases__ "
    "__parameters__ __slots__ __weakref__ _abc_impl __eq__ __repr__ __getstate__ __getattribute__ __members__ "
    "__getattr__ __class_getitem__ __qualname__ __name__ _is_protocol _is_runtime_protocol __dataclass_fields__ "
    "__dataclass_params__ __protocol_attrs__ __setattr__ __delattr__ _generate_next_value_ __reduce_ex__ "
    "__set_name__ __class__".split()
)


# Compiled, where Python's own text has something else of the name.
COMPILED = frozenset({"_lru_cache_wrapper", "partial", "SimpleQueue", "Pickler", "Unpickler", "Random", "Element"})


def real_classes() -> Iterator[type]:
    """The classes of the modules above that are written in Python."""
    for name in ORACLE:
        module = importlib.import_module(name)
        for bound, found in vars(module).items():
            if isinstance(found, type) and found.__module__ == name and found.__qualname__ == bound not in COMPILED:
                yield found


@pytest.fixture(scope="module")
def standard() -> Definitions:
    """A project that is only the standard library."""
    nowhere = Path(sys.prefix) / "no such project"
    version = ".".join(map(str, sys.version_info[:3]))
    return Definitions(nowhere, [], [], python_version=version)


def test_the_standard_library_has_the_classes_orders_and_members_that_python_says(standard: Definitions) -> None:
    """For hundreds of real classes: the same method resolution order, and no attribute is overlooked."""
    seen = 0
    for real in real_classes():
        found = owner(standard, f"{real.__module__}.{real.__qualname__}")
        if standard.dynamic(found) is not None:
            continue
        seen += 1
        names = [each.short_name for each in standard.mro(found) if not each.name.startswith("typing.")]
        assert names == [each.__name__ for each in real.__mro__ if each.__module__ != "typing"]
        overlooked = {
            name for name in dir(real) if name not in MACHINERY and not name.startswith(("_member", "_value", "_un"))
        } - standard.members(found).keys()
        assert not {name for name in overlooked if "__" not in name[1:]}, (real, overlooked)
    assert seen > 200


def test_the_standard_library_takes_what_python_says(standard: Definitions) -> None:
    """For thousands of real methods: kind, asynchrony, and every parameter with its name, kind and default."""
    seen = 0
    for real in real_classes():
        members = standard.members(owner(standard, f"{real.__module__}.{real.__qualname__}"))
        for name, value in vars(real).items():
            plain = getattr(value, "__func__", value)
            if not isinstance(plain, FunctionType) or hasattr(plain, "__wrapped__") or plain.__name__ != name:
                continue
            if plain.__qualname__ != f"{real.__qualname__}.{name}" or name not in members or "__" in name:
                continue
            mine = members[name]
            if mine.owner.short_name != real.__name__ or mine.signature is None:
                continue
            seen += 1
            expected = {classmethod: MemberKind.CLASS_METHOD, staticmethod: MemberKind.STATIC_METHOD}
            assert mine.kind is expected.get(type(value), MemberKind.INSTANCE_METHOD), mine
            assert mine.is_async == inspect.iscoroutinefunction(plain), mine
            parameters = list(inspect.signature(plain).parameters.values())
            bound = parameters if isinstance(value, staticmethod) else parameters[1:]
            assert [(each.name, each.kind.value) for each in mine.signature.parameters] == [
                (each.name, each.kind.description) for each in bound
            ], mine
            assert [each.required for each in mine.signature.parameters] == [
                each.default is each.empty and "variadic" not in each.kind.description for each in bound
            ], mine
    assert seen > 1000


CONSTRUCTED = """
    from __future__ import annotations
    import collections
    import dataclasses
    import typing
    from dataclasses import KW_ONLY, InitVar, dataclass, field
    from typing import ClassVar, Generic, NamedTuple, TypeVar

    T = TypeVar("T")

    @dataclass
    class Point:
        x: int
        y: int = 0
        total: ClassVar[int] = 3
        extra: InitVar[int] = 0

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Named:
        name: str
        tags: list[str] = field(default_factory=list)
        secret: int = field(init=False, default=1)

    @dataclass
    class Child(Point):
        z: int = 1
        x: int = 5

    @dataclass
    class Mixed:
        a: int
        _: KW_ONLY
        b: int
        c: int = dataclasses.field(default=2, kw_only=False)

    @dataclass
    class ByHand(Point):
        def __init__(self, only): pass

    @dataclass(init=False)
    class Without(Point):
        more: int

    class Plain(Child): pass

    class Empty: pass

    class OwnNew:
        def __new__(cls, a, *, b=1): return super().__new__(cls)

    class Both(OwnNew):
        def __init__(self, *args, **kwargs): pass

    class Box(Generic[T]):
        def __init__(self, item: T, /): self.item = item

    class IntBox(Box[int]): pass

    class Coordinates(NamedTuple):
        lat: float
        lon: float = 0

    class Pair(collections.namedtuple("Pair", "left, right", defaults=[None])):
        def swapped(self): return Pair(self.right, self.left)

    Triple = collections.namedtuple("Triple", ["a", "b", "c"])
    Typed = typing.NamedTuple("Typed", [("a", int), ("b", int)])

    class Problem(Exception):
        def __init__(self, code, *, detail=None): super().__init__(code)
"""


def test_constructors_take_what_python_says(write: Write) -> None:
    """Written or made of fields: a call of the class takes what `inspect` says."""
    definitions = write(made=CONSTRUCTED)
    scope: dict[str, object] = {"__name__": "made"}
    module = type(sys)("made")
    sys.modules["made"] = module
    try:
        exec(textwrap.dedent(CONSTRUCTED), vars(module))  # noqa: S102  # the text above
        scope = vars(module)
    finally:
        del sys.modules["made"]
    classes = [value for value in scope.values() if isinstance(value, type) and value.__module__ == "made"]
    assert len(classes) > 15
    assert takes(definitions, "made", "Both") == "(a, *, b=…)"  # `__new__` is called too, which `inspect` passes over
    for real in classes:
        if real.__name__ == "Both":
            continue
        mine = member(definitions, "made", real.__name__)
        assert mine.kind is MemberKind.CLASS
        expected = [
            (each.name, each.kind.description, each.default is each.empty and "variadic" not in each.kind.description)
            for each in inspect.signature(real).parameters.values()
        ]
        assert mine.signature is not None, real
        assert [(each.name, each.kind.value, each.required) for each in mine.signature.parameters] == expected, real
        fields = getattr(real, "_fields", ())
        assert set(fields) <= definitions.members(owner(definitions, f"made.{real.__name__}")).keys()


def test_attrs_classes_are_read(write: Write) -> None:
    """Leading underscores go, defaults and `init=False` count, aliases are the parameter's name."""
    definitions = write(
        m="""
        import attr, attrs
        from attrs import define, field, Factory

        @define
        class New:
            _a: int
            b: int = 1
            c: int = field(factory=list)
            d: int = field(init=False)
            e: int = field(default=2, kw_only=True)
            f: int = field(default=3, alias="eff")

        @attr.s
        class Old:
            a = attr.ib()
            b = attr.ib(5)
            c = attr.ib()
            x = 3

            @c.default
            def _c(self): return 1

        @attrs.frozen(kw_only=True)
        class Sub(New):
            g: int
        """
    )
    assert takes(definitions, "m", "New") == "(a, b=…, c=…, eff=…, *, e=…)"
    assert takes(definitions, "m", "Old") == "(a, b=…, c=…)"
    assert takes(definitions, "m", "Sub") == "(a, b=…, c=…, eff=…, *, e=…, g)"


def test_constructors_that_cannot_be_told_are_none(write: Write) -> None:
    """A metaclass that makes instances its own way, and an unknown base in front, leave it open."""
    definitions = write(
        m="""
        import unknown_library
        class Meta(type):
            def __call__(cls, *, a): return 1
        class A(metaclass=Meta):
            def __init__(self, b): ...
        class B(unknown_library.Base): ...
        class C(unknown_library.Base):
            def __init__(self, b): ...
        class D(B):
            pass
        """
    )
    assert [takes(definitions, "m", name) for name in "ABCD"] == [None, None, "(b)", None]


# --- finding ---


def test_classes_are_found_by_their_place(write: Write, tmp_path: Path) -> None:
    """Nested ones, local ones, those in branches, and decorated ones by any of their first lines."""
    definitions = write(
        m="""\
        import functools
        @functools.total_ordering
        class A:
            class B:
                def m(self):
                    class Local: pass
                    return Local
        try:
            class C: x = 1
        except ImportError:
            class C: y = 1
        def f():
            if True:
                class Inner(A): z = 1
            return Inner
        P = __import__("collections").namedtuple("P", "a")
        """
    )
    at = {line: definitions.class_at(tmp_path / "m.py", line) for line in range(1, 18)}
    names = {line: found.name for line, found in at.items() if found is not None}
    assert names == {
        2: "m.A", 3: "m.A", 4: "m.A.B", 6: "m.A.B.m.<locals>.Local", 9: "m.C", 11: "m.C", 14: "m.f.<locals>.Inner",
        16: "m.P",
    }  # fmt: skip
    assert definitions.class_at(Path("m.py"), 3) == at[3] == definitions.named("m.A")
    assert [each.name for each in definitions.mro(at[14] or owner(definitions, "m"))] == [
        "m.f.<locals>.Inner", "m.A", "builtins.object",
    ]  # fmt: skip
    second = at[11]
    assert second is not None
    assert "y" in definitions.members(second)
    assert definitions.named("m.f.<locals>.Inner") == at[14]
    assert definitions.class_at(tmp_path / "absent.py", 1) is None


def test_what_a_package_imports_is_read_when_it_is_asked_for(write: Write) -> None:
    """The names of a module are known without a look into what it imports from."""
    definitions = write(pkg__mod="from pkg.late import made\n", pkg__late="")
    members = definitions.members(owner(definitions, "pkg.mod"))
    assert "made" in members
    assert (len(members), list(members)) == (1, ["made"])
    write(pkg__late="def made(one): ...\n")
    assert members["made"].kind is MemberKind.FUNCTION
    assert members["made"] is members["made"]


def test_names_are_followed_through_re_exports_aliases_and_stars(write: Write) -> None:
    """An owner is the same from wherever it is named, and circles of imports end."""
    definitions = write(
        **{"pkg/__init__": "from .ctx import Ctx as Context\nfrom .stars import *\nfrom .loop import Looped\n"},
        pkg__ctx="class Base: pass\nclass Ctx(Base):\n    class Inner: pass\nAlias = Ctx\n",
        pkg__stars="from .ctx import Alias\n_hidden = Alias\n",
        pkg__loop="from . import Looped\n",
        pkg__sub__deep="from .. import ctx\nfrom ..ctx import Base as B\nclass D(B): pass\n",
    )
    ctx = owner(definitions, "pkg.ctx.Ctx")
    assert ctx.file == "pkg/ctx.py"
    for name in ("pkg.Context", "pkg.Alias", "pkg.ctx.Alias", "pkg.stars.Alias", "pkg.sub.deep.ctx.Ctx"):
        assert definitions.named(name) == ctx, name
    assert definitions.named("pkg.Context.Inner") == owner(definitions, "pkg.ctx.Ctx.Inner")
    assert [each.name for each in definitions.mro(owner(definitions, "pkg.sub.deep.D"))][1] == "pkg.ctx.Base"
    assert definitions.named("pkg.Looped") is None
    assert definitions.named("pkg.absent.Ctx") is None
    assert definitions.named("pkg.sub") is None  # a folder is no file
    assert owner(definitions, "pkg") == Owner("pkg", OwnerKind.MODULE, "pkg/__init__.py", 1)
    assert {"ctx", "stars", "Context", "Alias"} <= definitions.members(owner(definitions, "pkg")).keys()
    assert "_hidden" not in definitions.members(owner(definitions, "pkg"))


def test_what_is_the_projects_and_what_is_not(tmp_path: Path, write: Write) -> None:
    """Files of the project are named relative to it; those of an environment inside it are not the project's."""
    definitions = write(
        app="import lib\nclass A(lib.L): pass\n",
        site__lib="class L:\n    def made(self): ...\n",
        src__x="class X: pass\n",
    )
    library = owner(definitions, "lib.L")
    assert library.file == (tmp_path / "site/lib.py").as_posix()
    assert not library.is_inside
    assert not owner(definitions, "builtins.dict").is_inside
    assert owner(definitions, "app.A").is_inside
    assert definitions.members(owner(definitions, "app.A"))["made"].owner == library
    other = Definitions(tmp_path, [tmp_path / "src", tmp_path])
    assert (other.module_at(tmp_path / "src/x.py") or library).name == "x"


def test_stubs_count_only_where_there_is_no_source(tmp_path: Path) -> None:
    """The stub beside a source means the source; a stub alone is read; overloads must agree."""
    (tmp_path / "both.py").write_text("# one\n# two\nclass A:\n    def run(self, a): ...\n")
    (tmp_path / "both.pyi").write_text("class A:\n    def run(self, b): ...\n")
    (tmp_path / "only.pyi").write_text(
        "from typing import overload\nclass B:\n    x: int\n    @overload\n    def get(self, a: int) -> int: ...\n"
        "    @overload\n    def get(self, a: str, b: str) -> str: ...\n"
        "    @overload\n    def put(self, a: int) -> int: ...\n    @overload\n    def put(self, a: str) -> str: ...\n"
    )
    definitions = Definitions(tmp_path, [tmp_path])
    found = definitions.class_at(tmp_path / "both.pyi", 1)
    assert found == owner(definitions, "both.A")
    assert (found.file, found.line) == ("both.py", 3)
    assert takes(definitions, "both.A", "run") == "(a)"
    assert takes(definitions, "only.B", "get") is None
    assert takes(definitions, "only.B", "put") == "(a)"
    assert not member(definitions, "only.B", "x").instance_only


def test_stubs_of_an_engine_are_read_where_they_lie(tmp_path: Path) -> None:
    """Absolute paths of an engine's typeshed work, their imports lie beside them, and versions decide the branches."""
    stubs = tmp_path / "typeshed"
    stubs.mkdir()
    (stubs / "builtins.pyi").write_text("class object:\n    def __init__(self) -> None: ...\nclass dict: ...\n")
    (stubs / "sys.pyi").write_text("")
    (stubs / "thing.pyi").write_text(
        "import sys\nfrom builtins import dict as d\n\nif sys.version_info >= (3, 13):\n    class New(d): ...\n"
        "class Old(d):\n    if sys.version_info >= (3, 9):\n        def later(self, a): ...\n    else:\n"
        "        def earlier(self): ...\n"
    )
    definitions = Definitions(tmp_path / "project", [], python_version="3.11.7")
    old = definitions.class_at(stubs / "thing.pyi", 6)
    assert old is not None
    assert [each.file for each in definitions.mro(old)] == [
        (stubs / name).as_posix() for name in ("thing.pyi", "builtins.pyi", "builtins.pyi")
    ]
    assert "later" in definitions.members(old)
    assert "earlier" not in definitions.members(old)
    assert definitions.class_at(stubs / "thing.pyi", 5) is None
    open_ = Definitions(tmp_path / "project", [])
    assert open_.class_at(stubs / "thing.pyi", 5) is not None
    given = Definitions(tmp_path / "project", [], stdlib=stubs)
    assert (given.named("builtins.dict") or old).file == (stubs / "builtins.pyi").as_posix()


# --- members ---


def test_members_have_their_kinds(write: Write) -> None:
    """Methods, properties, attributes of all origins, and what shadows what."""
    definitions = write(
        m='''
        import functools
        from abc import ABC, abstractmethod
        from contextlib import asynccontextmanager
        from typing import Awaitable, ClassVar
        from warnings import deprecated

        class Base(ABC):
            __slots__ = ("slotted", "__hidden")
            annotated: int
            of_class: ClassVar[int]
            value = 1
            left, (right, *rest) = 1, (2, 3)

            def __init__(self, a):
                self.set_here, self.and_here = a, a
                with open(a) as self.file:
                    setattr(self, "by_name", 1)

            def later(this):
                def inner():
                    this.in_closure = 1

            @abstractmethod
            async def wait(self, x, *, y=1): """Waits for x."""

            async def stream(self):
                yield 1

            def soon(self) -> Awaitable[int]: ...

            @asynccontextmanager
            async def opened(self, path):
                yield 1

            @property
            def prop(self): ...

            @prop.setter
            def prop(self, value): ...

            @functools.cached_property
            def cached(self): ...

            @staticmethod
            def static(a): ...

            @classmethod
            @functools.lru_cache(maxsize=None)
            def made(cls, a): ...

            @deprecated("Use made() instead")
            def old(self, a): ...

            alias = made
            function = lambda self, b: b
            wrapped = staticmethod(len)

        class Sub(Base):
            def __init__(self):
                self.prop = 3
                self.own = 1
        ''',
    )
    kinds = {
        name: each.kind
        for name, each in definitions.members(owner(definitions, "m.Sub")).items()
        if each.owner.name.startswith("m.") and not name.startswith("__")
    }
    attributes = "slotted annotated of_class value left right rest set_here and_here file by_name in_closure own"
    assert {name for name, kind in kinds.items() if kind is MemberKind.ATTRIBUTE} == set(attributes.split())
    assert {name for name, kind in kinds.items() if kind is MemberKind.PROPERTY} == {"prop", "cached"}
    assert {name for name, kind in kinds.items() if kind is MemberKind.CLASS_METHOD} == {"made", "alias"}
    assert kinds["static"] is kinds["wrapped"] is MemberKind.STATIC_METHOD
    assert kinds["function"] is MemberKind.INSTANCE_METHOD
    members = definitions.members(owner(definitions, "m.Sub"))
    assert {name for name, each in members.items() if each.instance_only} == {
        "annotated", "set_here", "and_here", "file", "by_name", "in_closure", "own",
    }  # fmt: skip
    assert {name for name, each in members.items() if each.is_async} == {"wait", "soon"}
    assert str(members["wait"].signature) == "(x, *, y=…)"
    assert members["wait"].summary == "Waits for x."
    assert str(members["made"].signature) == str(members["alias"].signature) == "(a)"
    assert str(members["function"].signature) == "(b)"
    assert members["old"].deprecated == "Use made() instead"
    assert members["own"].owner.name == "m.Sub"


def test_decorators_of_unknown_effect_leave_the_signature_open(write: Write) -> None:
    """Only what is known or proven to hand arguments on keeps a signature; the note says what was in the way."""
    definitions = write(
        deco="""
        import functools
        def registered(function):
            registry.append(function)
            return function
        def logged(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                print(args)
                return function(*args, **kwargs)
            return wrapper
        def retried(times):
            def decorate(function):
                @functools.wraps(function)
                async def wrapper(self, *args, **kwargs):
                    return await function(self, *args, **kwargs)
                return wrapper
            return decorate
        def injected(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                kwargs["db"] = 1
                return function(*args, **kwargs)
            return wrapper
        def partly(function):
            def wrapper(a, *args, **kwargs):
                return function(*args, **kwargs)
            return wrapper
        """,
        m="""
        import deco, unknown
        from deco import logged
        class A:
            @deco.registered
            def a(self, x): ...
            @logged
            def b(self, x): ...
            @deco.retried(3)
            def c(self, x): ...
            @deco.injected
            def d(self, x, db): ...
            @deco.partly
            def e(self, x): ...
            @unknown.thing
            def f(self, x): ...
            @deco.retried
            def g(self, x): ...
        """,
    )
    assert [takes(definitions, "m.A", name) for name in "abcdefg"] == ["(x)", "(x)", "(x)", None, None, None, None]
    assert member(definitions, "m.A", "c").is_async
    assert not member(definitions, "m.A", "b").is_async
    assert member(definitions, "m.A", "f").note == "`@unknown.thing` decides what it takes"


def test_branches_agree_or_leave_the_signature_open(write: Write) -> None:
    """One meaning in all branches is known; a later sure definition wins; what is deleted is gone."""
    definitions = write(
        m="""
        import sys
        from typing import TYPE_CHECKING
        class A:
            if sys.flags.debug:
                def same(self, a): ...
                def other(self, a): ...
            else:
                def same(self, a): ...
                def other(self, a, b): ...
            def again(self, a): ...
            def again(self, b): ...
            if TYPE_CHECKING:
                def shown(self, a): ...
            else:
                def shown(self, *args): ...
            temporary = 1
            del temporary
        try:
            from absent_module import helper
        except ImportError:
            def helper(x): ...
        """
    )
    assert takes(definitions, "m.A", "same") == "(a)"
    assert takes(definitions, "m.A", "other") is None
    assert takes(definitions, "m.A", "again") == "(b)"
    assert takes(definitions, "m.A", "shown") == "(*args)"
    assert "temporary" not in definitions.members(owner(definitions, "m.A"))
    assert takes(definitions, "m", "helper") == "(x)"


def test_callables_are_found_by_name(write: Write) -> None:
    """Functions, methods by their defining class, constructors; nothing that cannot be called."""
    definitions = write(
        m="""
        def made(a): ...
        class Base:
            x = 1
            def from_request(self, b): ...
        class Ctx(Base):
            def __init__(self, c): ...
        """,
        n="from m import made as built, Ctx\n",
    )
    for name, expected in (
        ("m.made", "(a)"), ("n.built", "(a)"), ("m.Base.from_request", "(b)"), ("m.Ctx.from_request", "(b)"),
        ("m.Ctx.__init__", "(c)"), ("n.Ctx", "(c)"),
    ):  # fmt: skip
        found = definitions.callable_named(name)
        assert found is not None, name
        assert str(found.signature) == expected
    assert definitions.callable_named("m.Base.x") is None
    assert definitions.callable_named("m.absent") is None
    assert definitions.callable_named("made") is None


# --- what cannot be known ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class A:\n    def __getattr__(self, name): ...", "defines `__getattr__`"),
        ("class B:\n    def __getattribute__(self, n): ...\nclass A(B): ...", "`m.B` defines `__getattribute__`"),
        ("import nowhere\nclass A(nowhere.B): ...", "the base `nowhere.B`"),
        ("from typing import Any\nclass A(Any): ...", "the base `Any`"),
        ("class A(make()): ...", "the base `make()`"),
        ("import lib\n@lib.magic\nclass A: ...", "`@lib.magic` may give"),
        ("def d(c):\n    c.x = 1\n    return c\n@d\nclass A: ...", "`@d` may give"),
        ("class A: ...\nfor n in names:\n    pass\nsetattr(A, name, 1)", "sets attributes of computed names"),
        ("class A:\n    def __init__(self, **k):\n        for n in k: setattr(self, n, k[n])", "computed names"),
        ("class A:\n    def __init__(self, **k): self.__dict__.update(k)", "computed names"),
        ("class A:\n    def put(self, n): object.__setattr__(self, n, 1)", "computed names"),
        ("class A:\n    def __init__(self, k): self.__dict__ = k", "computed names"),
        ("class A:\n    @classmethod\n    def put(cls, f):\n        setattr(cls, f.__name__, f)", "computed names"),
        ("class B:\n    def __init_subclass__(cls):\n        setattr(cls, n, 1)\nclass A(B): ...", "on `m.B`"),
        ("class A:\n    for n in names:\n        vars()[n] = 1", "computed names"),
        (
            "class A:\n    def __new__(cls, **k):\n        it = object.__new__(cls)\n        setattr(it, n, 1)",
            "computed",
        ),
        ("class M(type):\n    def __getattr__(c, n): ...\nclass A(metaclass=M): ...", "its metaclass `m.M`"),
        (
            "class M(type):\n    def __init__(c, *a):\n        setattr(c, n, 1)\nclass A(metaclass=M): ...",
            "its metaclass",
        ),
        ("class M(type):\n    def __new__(m, n, b, s):\n        s[x] = 1\nclass A(metaclass=M): ...", "its metaclass"),
        ("class X: ...\nclass Y(X): ...\nclass A(X, Y): ...", "no consistent order"),
    ],
)
def test_dynamic_classes_are_told_with_their_reason(text: str, reason: str, write: Write) -> None:
    """Whatever may give a class attributes that no statement shows makes it dynamic."""
    definitions = write(m=text)
    told = definitions.dynamic(owner(definitions, "m.A"))
    assert told is not None
    assert reason in told


@pytest.mark.parametrize(
    "text",
    [
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int",
        "import functools\n@functools.total_ordering\nclass A:\n    def __lt__(self, o): ...",
        "def register(cls):\n    REGISTRY.append(cls)\n    return cls\n@register\nclass A: ...",
        "def register(name):\n    def inner(cls):\n        R[name] = cls\n        return cls\n    return inner\n"
        "@register('a')\nclass A: ...",
        "class A: ...\nA.x = 1\nsetattr(A, 'y', 2)",
        "class A:\n    def __setstate__(self, s):\n        for n in s: setattr(self, n, s[n])",
        "from enum import Enum\nclass A(Enum):\n    X = 1",
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]): ...",
        "from typing import TypedDict, List\nclass A(List[int]): ...",
        "import pytest\n@pytest.mark.slow\nclass A: ...",
        "from typing import TYPE_CHECKING\nclass A:\n    if not TYPE_CHECKING:\n        def __getattr__(self, n): ...",
        "class A(Exception): ...",
        "import threading, logging\nclass A(threading.Thread, logging.Handler): ...",
    ],
)
def test_plain_classes_are_not_called_dynamic(text: str, write: Write) -> None:
    """Well-known and proven decorators, bases of the standard library, and what is set by name leave a class plain."""
    definitions = write(m=text)
    found = owner(definitions, "m.A")
    assert definitions.dynamic(found) is None
    if "setattr(A" in text:
        assert {"x", "y"} <= definitions.members(found).keys()


def test_what_a_function_makes_is_found(write: Write) -> None:
    """Local classes, local named tuples, and what `global` binds are known, however deep in functions they stand."""
    definitions = write(
        m="def f():\n    if f:\n        def g():\n            class A:\n                x = 1\n            return A\n",
        n="from collections import namedtuple as mynamedtuple\ndef f():\n    P = mynamedtuple('P', 'x y')\n",
        o="def f():\n    def g():\n        global y\n        y = 1\n",
    )
    assert "x" in definitions.members(owner(definitions, "m.f.<locals>.g.<locals>.A"))
    assert {"x", "y"} <= definitions.members(owner(definitions, "n.f.<locals>.P")).keys()
    assert "y" in definitions.members(owner(definitions, "o"))


def test_what_is_dynamic_depends_on_what_is_asked(write: Write) -> None:
    """`__getattr__` of a class serves its instances, that of its metaclass the class."""
    definitions = write(
        m="class M(type):\n    def __getattr__(c, n): ...\nclass A(metaclass=M): ...\n"
        "class B:\n    def __getattr__(self, n): ...\n"
    )
    assert definitions.dynamic(owner(definitions, "m.A"), Access.INSTANCE) is None
    assert definitions.dynamic(owner(definitions, "m.A"), Access.CLASS) is not None
    assert definitions.dynamic(owner(definitions, "m.B"), Access.CLASS) is None
    assert definitions.dynamic(owner(definitions, "m.B"), Access.INSTANCE) is not None


def test_what_a_method_of_instances_sets_says_nothing_of_the_class(write: Write) -> None:
    """What `__init__` sets under computed names is the instances' own; what a class method sets is the class's too."""
    definitions = write(
        m="class A:\n    def __init__(self, **k):\n        for n in k: setattr(self, n, k[n])\n"
        "class B:\n    @classmethod\n    def put(cls, f):\n        setattr(cls, f.__name__, f)\n"
    )
    assert definitions.dynamic(owner(definitions, "m.A"), Access.CLASS) is None
    assert definitions.dynamic(owner(definitions, "m.B"), Access.CLASS) is not None
    assert definitions.dynamic(owner(definitions, "m.B"), Access.INSTANCE) is not None


def test_compiled_modules_are_members_of_their_package(write: Write, tmp_path: Path) -> None:
    """A package has the modules that lie in its folder, compiled ones and packages too, and no other files."""
    definitions = write(**{"pkg/__init__": "", "pkg/plain": "", "pkg/inner/__init__": "", "pkg/a.b": ""})
    for name in ("fast.cpython-311-x86_64-linux-gnu.so", "slow.pyd", "data.txt"):
        (tmp_path / "pkg" / name).write_bytes(b"")
    assert set(definitions.members(owner(definitions, "pkg"))) == {"plain", "inner", "fast", "slow"}


def test_a_module_is_as_dynamic_as_those_whose_names_it_takes(write: Write) -> None:
    """`import *` of a module that computes its names brings nobody knows which; a list of names says which."""
    computing = "globals()[name] = 1\nfrom all import *\n"
    definitions = write(
        all="from some import *\n", some=computing, listed=computing + "__all__ = ['a']\n", few="from listed import *\n"
    )
    assert definitions.dynamic(owner(definitions, "all")) == (
        "`from some import *`: line 1 sets names of the module that are computed"
    )
    assert definitions.dynamic(owner(definitions, "few")) is None
    lazy = write(lazy="def __getattr__(name): ...\nx = 1\n", kept="from lazy import *\n")
    assert lazy.dynamic(owner(lazy, "kept")) is None
    looping = write(one="from two import *\nx = 1\n", two="from one import *\n")
    assert looping.dynamic(owner(looping, "one")) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def __getattr__(name): ...", "`__getattr__`"),
        ("from nowhere import *", "`from nowhere import *`"),
        ("globals()[name] = 1", "computed"),
        ("globals().update(x)", "computed"),
        ("def f():\n    globals()[name] = 1\nf()", "computed"),
        ("def f():\n    globals().update(x)\nf()", "computed"),
        ("import sys\ndef f():\n    setattr(sys.modules[__name__], n, 1)\nf()", "by `setattr`"),
        ("import sys\nsys.modules[__name__] = thing", "another object"),
    ],
)
def test_dynamic_modules_are_told_with_their_reason(text: str, reason: str, write: Write) -> None:
    """Whatever may give a module names that no statement shows makes it dynamic."""
    definitions = write(m=text, plain="import sys\nx = 1\ndef f():\n    global y\n    y = 2\nglobals()['z'] = 1\n")
    told = definitions.dynamic(owner(definitions, "m"))
    assert told is not None
    assert reason in told
    assert definitions.dynamic(owner(definitions, "plain")) is None
    assert {"x", "y", "z", "f", "sys"} <= definitions.members(owner(definitions, "plain")).keys()


def test_files_that_cannot_be_read_give_nothing_and_raise_nothing(write: Write, tmp_path: Path) -> None:
    """Syntax errors, NUL bytes, wrong encodings, absent files: None, and dynamic for what derives from them."""
    definitions = write(bad="class A(:\n", good="from bad import A\nclass B(A): ...\n")
    (tmp_path / "nul.py").write_bytes(b"class A: pass\0\n")
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\nclass Ä:\n    é = 1\n".encode("latin-1"))
    (tmp_path / "wrong.py").write_bytes(b"\xff\xfe class A: pass\n")
    for name in ("bad", "nul", "wrong", "absent"):
        assert definitions.module_at(tmp_path / f"{name}.py") is None
        assert definitions.named(f"{name}.A") is None
    assert "cannot be followed" in (definitions.dynamic(owner(definitions, "good.B")) or "")
    assert "é" in definitions.members(owner(definitions, "latin.Ä"))
    gone = Owner("absent.A", OwnerKind.CLASS, "absent.py", 1)
    assert definitions.mro(gone)[0] == gone
    assert {each.owner.name for each in definitions.members(gone).values()} == {"builtins.object"}
    assert "cannot be read" in (definitions.dynamic(gone) or "")


def test_files_that_were_written_are_read_again(write: Write, tmp_path: Path) -> None:
    """After `forget` new members are there, also those of bases, and builtins still are."""
    definitions = write(m="class A: ...\nclass B(A): ...\n")
    found = owner(definitions, "m.B")
    assert "made" not in definitions.members(found)
    (tmp_path / "m.py").write_text("class A: made = 1\nclass B(A): ...\n")
    assert "made" not in definitions.members(found)
    definitions.forget()
    assert {"made", "__init__"} <= definitions.members(found).keys()


def test_the_sources_own_words_about_a_name_are_found(write: Write) -> None:
    """Tables of removed names in the module, and docstrings that name what a method took the place of."""
    definitions = write(
        m='''
        __expired_attributes__ = {"gone": "Use `made` instead."}
        class A:
            def made(self):
                """Make it. Renamed from `old_made`."""
        '''
    )
    assert definitions.hints(owner(definitions, "m"), "gone") == ("m.py says of `gone`: Use `made` instead.",)
    assert "use `made`" in definitions.hints(owner(definitions, "m.A"), "old_made")[0]
    assert definitions.hints(owner(definitions, "m.A"), "other") == ()


def test_large_trees_are_read_on_demand(tmp_path: Path) -> None:
    """Only the files that a question needs are opened."""
    for number in range(50):
        (tmp_path / f"m{number}.py").write_text(f"from m{number + 1} import X{number + 1}\nclass X{number}: ...\n")
    (tmp_path / "m7.py").chmod(0o644)
    definitions = Definitions(tmp_path, [tmp_path])
    (tmp_path / "m8.py").unlink()
    found = owner(definitions, "m7.X7")
    assert [each.name for each in definitions.mro(found)] == ["m7.X7", "builtins.object"]
    assert functools.reduce(lambda total, _: total + 1, definitions.members(found), 0) > 10

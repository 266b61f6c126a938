"""What the syntax around an expression tells: bounds of type variables, class methods."""

from __future__ import annotations

import pytest

from netra_repair.source import Source
from netra_repair.surroundings import Surroundings


def surroundings(text: str) -> tuple[Source, Surroundings]:
    source = Source.of("a.py", text.encode())
    found = Surroundings.of(source)
    assert found is not None
    return source, found


class TestBounds:
    @pytest.mark.parametrize(
        ("statement", "bounds"),
        [
            ('T = TypeVar("T", bound=Ctx)', ["Ctx"]),
            ('T = TypeVar("T", bound="pkg.Ctx")', ["pkg.Ctx"]),
            ("T = t.TypeVar('T', covariant=True, bound=(\n  Ctx\n))", ["Ctx"]),
            ('T = TypeVar("T", Ctx, "Base", covariant=False)', ["Ctx", "Base"]),
            ('T = Other = TypeVar("T", bound=Ctx | None)', ["Ctx | None"]),
            ('T = TypeVar("T")', []),
            ('T = TypeVar("T", default=int)', []),
            ('U = TypeVar("T", bound=Ctx)', []),
            ("T = 3", []),
        ],
    )
    def test_of_a_statement(self, statement: str, bounds: list[str]) -> None:
        """The bound or the constraints of `TypeVar(…)` are found by name and line, also those in quotes."""
        source, found = surroundings(
            f"é = '😀'\nT = TypeVar('T', bound=Wrong)\n{statement}\nT = TypeVar('T', bound=Wrong)\n"
        )
        assert [source.slice(span) for span in found.bounds_of_statement("T", 3)] == bounds

    def test_of_a_parameter(self) -> None:
        """The innermost `[T: …]` around an expression counts, whatever the Python that runs this can parse."""
        source, found = surroundings(
            "class A[T: Base, *Ts, **P]:\n"
            "    def f[T: (Ctx, 'Other')](self): here_1\n"
            "    def g[U: int](self): here_2\n"
            "def h[T](): here_3\n"
            "here_4\n"
        )
        told = [
            [source.slice(span) for span in found.bounds_of_parameter("T", source.offset_of_index(at))]
            for at in (source.text.index(f"here_{number}") for number in range(1, 5))
        ]
        assert told == [["Ctx", "Other"], ["Base"], [], []]


def test_class_methods() -> None:
    """The innermost function decides; some methods are class methods without a decorator."""
    source, found = surroundings(
        "class A:\n"
        "    @classmethod\n"
        "    def a(cls): super()\n"
        "    @other\n"
        "    @classmethod\n"
        "    async def b(cls): super()\n"
        "    def __init_subclass__(cls): super()\n"
        "    def c(self): super()\n"
        "    @classmethod\n"
        "    def d(cls):\n"
        "        def inner(self): super()\n"
        "super()\n"
    )
    places = [source.offset_of_index(at) for at in range(len(source.text)) if source.text.startswith("super", at)]
    assert [found.in_class_method(offset) for offset in places] == [True, True, True, False, False, False]


def test_a_file_that_does_not_parse() -> None:
    """Without a tree there are no surroundings."""
    assert Surroundings.of(Source.of("a.py", b"def (:\n")) is None

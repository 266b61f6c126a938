"""Code that expects an attribute to be absent is recognised, and other code is not taken for it."""

from __future__ import annotations

import textwrap

import pytest

from netra_repair.references import Guard, Use
from netra_repair.source import Source
from netra_repair.syntax import Syntax


def guards_of(code: str, *uses: Use) -> list[Guard | None]:
    """The guards of what names `gone` in some ways."""
    syntax = Syntax(Source.of("m.py", textwrap.dedent(code).encode()))
    return [reference.guard for reference in syntax.references(["gone"]) if reference.use in uses]


def lookups(code: str) -> list[Guard | None]:
    return guards_of(code, Use.CALL, Use.REFERENCE)


# Each looks up Ctx.gone once.
HASATTR = [
    "if hasattr(Ctx, 'gone'): Ctx.gone()",
    "if not hasattr(Ctx, 'gone'):\n    x\nelse:\n    Ctx.gone()",
    "if not hasattr(Ctx, 'gone'): Ctx.gone()",
    "if a and (b or hasattr(Ctx, 'gone')):\n    with c:\n        for d in e:\n            Ctx.gone()",
    "if a:\n    b\nelif hasattr(Ctx, 'gone'):\n    Ctx.gone()",
    "if hasattr( Ctx , 'gone' ) == True: Ctx.gone()",
    "if hasattr((Ctx), 'gone'): (Ctx).gone()",
    "if getattr(Ctx, 'gone', None): Ctx.gone()",
    "if getattr(Ctx, 'gone', None) is not None: Ctx.gone()",
    "if callable(getattr(Ctx, 'gone', None)): Ctx.gone()",
    "if 'gone' in dir(Ctx): Ctx.gone()",
    "if 'gone' not in vars(Ctx):\n    a\nelse:\n    Ctx.gone()",
    "if 'gone' in Ctx.__dict__: Ctx.gone()",
    "if (has := hasattr(Ctx, 'gone')): Ctx.gone()",
    "hasattr(Ctx, 'gone') and Ctx.gone()",
    "not hasattr(Ctx, 'gone') or Ctx.gone()",
    "a and hasattr(Ctx, 'gone') and b and Ctx.gone()",
    "x = Ctx.gone() if hasattr(Ctx, 'gone') else None",
    "x = f(None if not hasattr(Ctx, 'gone') else (a, Ctx.gone()))",
    "while hasattr(Ctx, 'gone'):\n    Ctx.gone()",
    "[Ctx.gone() for a in b if hasattr(Ctx, 'gone')]",
    "{a: Ctx.gone() for a in b if hasattr(Ctx, 'gone')}",
    "any(a for a in b if hasattr(Ctx, 'gone') if Ctx.gone())",
    "{a for a in b if hasattr(Ctx, 'gone') for c in Ctx.gone()}",
    "match a:\n    case b if hasattr(Ctx, 'gone'):\n        Ctx.gone()",
    # What follows in the block.
    "def f():\n    if not hasattr(Ctx, 'gone'):\n        return\n    Ctx.gone()",
    "if not hasattr(Ctx, 'gone'):\n    log()\n    raise Skip\nif a:\n    Ctx.gone()",
    "for a in b:\n    if not hasattr(Ctx, 'gone'): continue\n    Ctx.gone()",
    "for a in b:\n    if hasattr(Ctx, 'gone'):\n        c\n    else:\n        break\n    Ctx.gone()",
    "if a:\n    b\nelif not hasattr(Ctx, 'gone'):\n    pytest.skip('x')\nCtx.gone()",
    "if not hasattr(Ctx, 'gone'):\n    self.skipTest('x')\nCtx.gone()",
    "assert hasattr(Ctx, 'gone')\nCtx.gone()",
    "assert hasattr(Ctx, 'gone'); Ctx.gone()",
    "def f(): assert hasattr(Ctx, 'gone'); Ctx.gone()",
    "assert not hasattr(Ctx, 'gone')\nCtx.gone()",
    "self.assertTrue(hasattr(Ctx, 'gone'))\nCtx.gone()",
    # By name.
    "HAS = hasattr(Ctx, 'gone')\ndef f():\n    if HAS: Ctx.gone()",
    "HAS: bool = bool(hasattr(Ctx, 'gone'))\nHAS and Ctx.gone()",
    "made = getattr(Ctx, 'gone', None)\nif made is None:\n    pytest.skip()\nCtx.gone()",
    # Tests that are skipped.
    "@pytest.mark.skipif(not hasattr(Ctx, 'gone'), reason='')\ndef test():\n    Ctx.gone()",
    "@skipUnless(hasattr(Ctx, 'gone'), '')\nclass T:\n    def test(self):\n        Ctx.gone()",
    "HAS = hasattr(Ctx, 'gone')\n@pytest.mark.skipif(not HAS, reason='')\ndef test():\n    Ctx.gone()",
    "def test():\n    Ctx.gone()\npytestmark = pytest.mark.skipif(not hasattr(Ctx, 'gone'), reason='')",
    "class T:\n    pytestmark = skipif(not hasattr(Ctx, 'gone'))\n    def test(self): Ctx.gone()",
]
NO_HASATTR = [
    "if hasattr(Ctx, 'other'): Ctx.gone()",
    "if hasattr(Other, 'gone'): Ctx.gone()",
    "if hasattr(a.Ctx, 'gone'): Ctx.gone()",
    "if hasattr(Ctx, 'gone'): a\nCtx.gone()",
    "Ctx.gone()\nassert hasattr(Ctx, 'gone')",
    "Ctx.gone() and hasattr(Ctx, 'gone')",
    "a and f(Ctx.gone, hasattr(Ctx, 'gone'))",
    "def f():\n    if not hasattr(Ctx, 'gone'):\n        return\nCtx.gone()",
    "def f():\n    assert hasattr(Ctx, 'gone')\ndef g():\n    Ctx.gone()",
    "@skipUnless(hasattr(Ctx, 'gone'), '')\ndef test(): a\nCtx.gone()",
    "[a for a in b if hasattr(Ctx, 'gone')], Ctx.gone()",
    "[a for a in Ctx.gone() if hasattr(Ctx, 'gone')]",
    "if lambda: hasattr(Ctx, 'gone'): Ctx.gone()",
    "print(hasattr(Ctx, 'gone'))\nCtx.gone()",
    "HAS = hasattr(Ctx, 'gone')\nif OTHER: Ctx.gone()",
    "if 'gone' in dir(Other): Ctx.gone()",
    "if 'gone' in names: Ctx.gone()",
    "if 'gone' == dir(Ctx): Ctx.gone()",
    "if getattr(Ctx, 'gone'): Ctx.gone()",
]
EXCEPT = [
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    pass",
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    if a:\n        raise",
    "def f():\n  try:\n    Ctx.gone()\n  except AttributeError:\n    if a:\n      return 1\n    raise",
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    raise unittest.SkipTest('too old') from None",
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    raise ImportError('too old')",
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    yield 1\n    raise",
    "try:\n    Ctx.gone()\nexcept (ValueError, AttributeError) as e:\n    pass",
    "try:\n    Ctx.gone()\nexcept ValueError:\n    pass\nexcept builtins.AttributeError:\n    pass",
    "try:\n    if a:\n        Ctx.gone()\nexcept* AttributeError:\n    pass",
    "try:\n    try:\n        Ctx.gone()\n    except ValueError:\n        pass\nexcept AttributeError:\n    pass",
]
TRANSLATED = [
    "try:\n    Ctx.gone()\nexcept AttributeError as error:\n    log()\n    raise RuntimeError(1) from error",
    "try:\n    Ctx.gone()\nexcept AttributeError:\n    if a:\n        raise\n    raise RuntimeError(1) from None",
    "try:\n    Ctx.gone()\nexcept AttributeError: raise RuntimeError(1)",
]
NO_EXCEPT = [
    "try:\n    Ctx.gone()\nexcept ValueError:\n    pass",
    "try:\n    Ctx.gone()\nexcept ImportError:\n    pass",
    "try:\n    a\nexcept AttributeError:\n    Ctx.gone()",
    "try:\n    a\nexcept AttributeError:\n    pass\nelse:\n    Ctx.gone()",
    "try:\n    a\nexcept AttributeError:\n    pass\nfinally:\n    Ctx.gone()",
    "try:\n    a\nexcept AttributeError:\n    pass\nCtx.gone()",
    # Who catches everything has not thought of this attribute.
    "try:\n    Ctx.gone()\nexcept Exception:\n    pass",
    "try:\n    Ctx.gone()\nexcept:\n    pass",
]
SUPPRESS = [
    "with suppress(AttributeError): Ctx.gone()",
    "with contextlib.suppress(KeyError, AttributeError):\n    Ctx.gone()",
    "with a, suppress(AttributeError), Ctx.gone() as b: c",
]
NO_SUPPRESS = [
    "with suppress(KeyError): Ctx.gone()",
    "with suppress(Exception): Ctx.gone()",
    "with Ctx.gone(), suppress(AttributeError): a",
    "with open(AttributeError): Ctx.gone()",
    "with suppress(AttributeError, Ctx.gone): a",
]
RAISES = [
    "with pytest.raises(AttributeError): Ctx.gone()",
    "with pytest.raises((TypeError, AttributeError), match='x') as e:\n    Ctx.gone()",
    "with raises(expected_exception=AttributeError): Ctx.gone()",
    "with self.assertRaises(AttributeError) as e:\n    Ctx.gone()",
    "with self.assertRaisesRegex(AttributeError, 'x'):\n    Ctx.gone()",
    "with pytest.RaisesGroup(AttributeError):\n    Ctx.gone()",
    "pytest.raises(AttributeError, lambda: Ctx.gone())",
    "self.assertRaises(AttributeError, run, lambda: Ctx.gone())",
    "self.assertRaises(AttributeError, lambda: Ctx.gone())",
    "self.assertRaises(AttributeError, list, (Ctx.gone() for a in b))",
    "@raises(AttributeError)\ndef test(): Ctx.gone()",
    "@pytest.mark.xfail(raises=AttributeError)\nclass T:\n    def test(self): Ctx.gone()",
]
# Python asks for these before anybody expects an error.
EAGER = [
    "self.assertRaises(AttributeError, run(lambda: 1), Ctx.gone())",
    "self.assertRaises(AttributeError, lambda x=Ctx.gone(): x)",
    "self.assertRaises(AttributeError, Ctx.gone, 1)",
    "assert_raises(AttributeError, Ctx.gone)",
]
NO_RAISES = [
    "self.assertRaises(AttributeError, f)\nrun(lambda: Ctx.gone())",
    "with pytest.raises(ValueError): Ctx.gone()",
    "with pytest.raises(Exception): Ctx.gone()",
    "with pytest.raises(error): Ctx.gone()",
    "with pytest.raises(ValueError, match=AttributeError): Ctx.gone()",
    "with pytest.raises(AttributeError): a\nCtx.gone()",
    "@pytest.mark.xfail(reason='x')\ndef test(): Ctx.gone()",
    "@pytest.mark.parametrize(raises=AttributeError)\ndef test(): Ctx.gone()",
    "xfail(raises=ValueError)(Ctx.gone())",
]
VERSION = [
    "if sys.version_info >= (3, 12): Ctx.gone()",
    "if sys.version_info[0] == 2:\n    a\nelse:\n    Ctx.gone()",
    "if a:\n    b\nelif sys.platform.startswith('win'):\n    Ctx.gone()",
    "os.name == 'nt' and Ctx.gone()",
    "x = Ctx.gone() if six.PY2 else None",
    "if parse(lib.__version__) < parse('2'): Ctx.gone()",
    "if platform.system() == 'Windows': Ctx.gone()",
    "OLD = sys.version_info < (3, 9)\nif OLD: Ctx.gone()",
]
NO_VERSION = [
    "if TYPE_CHECKING: Ctx.gone()",
    "if sys.version_info < (3, 9):\n    raise SystemExit\nCtx.gone()",
    "@pytest.mark.skipif(sys.platform == 'win32', reason='x')\ndef test(): Ctx.gone()",
    "print(sys.version_info)\nCtx.gone()",
    "__version__ = '1'\nif platform: Ctx.gone()",
    "if self.platform == 'x': Ctx.gone()",
]


@pytest.mark.parametrize(
    ("code", "guard"),
    [
        *((code, Guard.HASATTR) for code in HASATTR),
        *((code, Guard.EXCEPT) for code in EXCEPT),
        *((code, Guard.TRANSLATED) for code in TRANSLATED),
        *((code, Guard.SUPPRESS) for code in SUPPRESS),
        *((code, Guard.RAISES) for code in RAISES),
        *((code, Guard.EAGER) for code in EAGER),
        *((code, Guard.VERSION) for code in VERSION),
        *((code, None) for code in (*NO_HASATTR, *NO_EXCEPT, *NO_SUPPRESS, *NO_RAISES, *NO_VERSION)),
    ],
)
def test_a_guard_is_for_what_it_says(code: str, guard: Guard | None) -> None:
    """A question, a handler, an expectation or a branch guards its own attribute, object, error and text, no other."""
    assert lookups(code) == [guard]


@pytest.mark.parametrize(
    ("code", "guard"),
    [
        ("getattr(Ctx, 'gone', None)", Guard.GETATTR_DEFAULT),
        ("getattr(Ctx, 'gone')", None),
        ("if hasattr(Ctx, 'gone'): pass", Guard.HASATTR),
        ("x = hasattr(Ctx, 'gone')", Guard.HASATTR),
        ("assert not hasattr(Ctx, 'gone')", Guard.ASSERTS_ABSENCE),
        ("assert not (a or hasattr(Ctx, 'gone')), 'x'", Guard.ASSERTS_ABSENCE),
        ("assert hasattr(Ctx, 'gone') is False", Guard.ASSERTS_ABSENCE),
        ("assert False == hasattr(Ctx, 'gone')", Guard.ASSERTS_ABSENCE),
        ("assert hasattr(Ctx, 'gone') is not True", Guard.ASSERTS_ABSENCE),
        ("assert (not hasattr(Ctx, 'gone')) is True", Guard.ASSERTS_ABSENCE),
        ("self.assertFalse(hasattr(Ctx, 'gone'), 'x')", Guard.ASSERTS_ABSENCE),
        ("self.assertTrue(not hasattr(Ctx, 'gone'))", Guard.ASSERTS_ABSENCE),
        ("self.assertEqual(hasattr(Ctx, 'gone'), False)", Guard.ASSERTS_ABSENCE),
        ("self.assertIs(False, hasattr(Ctx, 'gone'))", Guard.ASSERTS_ABSENCE),
        ("self.assertIsNot(hasattr(Ctx, 'gone'), True)", Guard.ASSERTS_ABSENCE),
        ("self.assertNotHasAttr(Ctx, 'gone')", Guard.ASSERTS_ABSENCE),
        # An assertion that it is there contradicts; it guards nothing of itself.
        ("assert hasattr(Ctx, 'gone')", None),
        ("assert hasattr(Ctx, 'gone') is not False", None),
        ("assert not not hasattr(Ctx, 'gone')", None),
        ("self.assertTrue(hasattr(Ctx, 'gone'))", None),
        ("self.assertFalse(not hasattr(Ctx, 'gone'))", None),
        ("self.assertIsNot(hasattr(Ctx, 'gone'), False)", None),
        ("self.assertHasAttr(Ctx, 'gone')", None),
        ("assert a, hasattr(Ctx, 'gone')", Guard.HASATTR),
        ("setattr(Ctx, 'gone', 1)", Guard.CREATED),
        ("patch.object(Ctx, 'gone', create=True)", Guard.CREATED),
        ("patch('m.Ctx.gone', create=True)", Guard.CREATED),
        ("monkeypatch.setattr(Ctx, 'gone', 1, raising=False)", Guard.CREATED),
        ("monkeypatch.delattr('m.Ctx.gone', raising=False)", Guard.CREATED),
        ("patch('m.Ctx.gone', create=False)", None),
        ("patch('m.Ctx.gone.other', create=True)", None),
        ("with pytest.raises(AttributeError): patch('m.Ctx.gone').start()", Guard.RAISES),
        ("self.assertRaises(AttributeError, lambda: getattr(Ctx, 'gone'))", Guard.RAISES),
        ("if hasattr(Ctx, 'other'): patch.object(Ctx, 'gone')", None),
    ],
)
def test_a_string_that_names_it_says_what_it_is_for(code: str, guard: Guard | None) -> None:
    """Questions, defaults, assertions of absence and patches that create expect that it may be absent."""
    assert guards_of(code, Use.STRING) == [guard]


@pytest.mark.parametrize("question", ["Ctx", "ctx.Ctx", "m.ctx.Ctx"])
def test_a_patched_path_is_guarded_by_any_spelling_of_it(question: str) -> None:
    """A path in a string is the object that the question before it spells, from wherever it imports it."""
    code = f"if hasattr({question}, 'gone'): patch('m.ctx.Ctx.gone')"
    assert guards_of(code, Use.STRING) == [Guard.HASATTR, Guard.HASATTR]
    assert guards_of(code.replace("hasattr(", "hasattr(x"), Use.STRING) == [Guard.HASATTR, None]


@pytest.mark.parametrize(
    ("code", "guard"),
    [
        ("try:\n    from m import gone\nexcept ImportError:\n    gone = None", Guard.EXCEPT),
        ("try:\n    from m import gone\nexcept (AttributeError, ImportError):\n    gone = None", Guard.EXCEPT),
        ("with pytest.raises(ImportError):\n    from m import gone", Guard.RAISES),
        ("with suppress(ImportError):\n    from m import gone", Guard.SUPPRESS),
        ("if sys.version_info < (3, 11):\n    from m import gone", Guard.VERSION),
        ("import a.m\nif hasattr(a.m, 'gone'):\n    from a.m import gone", Guard.HASATTR),
        # It raises ImportError, and nothing else.
        ("try:\n    from m import gone\nexcept AttributeError:\n    gone = None", None),
        ("try:\n    from m import gone\nexcept ModuleNotFoundError:\n    gone = None", None),
        ("from m import gone", None),
    ],
)
def test_imports_are_guarded_by_what_they_raise(code: str, guard: Guard | None) -> None:
    """`from m import gone` fails with ImportError: its guards are for that."""
    assert guards_of(code, Use.IMPORT) == [guard]


@pytest.mark.parametrize(
    ("code", "guard"),
    [
        ("with pytest.raises(TypeError):\n    made(1)", Guard.RAISES),
        ("with pytest.raises(ValidationError):\n    made(1)", Guard.RAISES_OTHERS),
        ("with pytest.raises((ValidationError, TypeError)):\n    made(1)", Guard.RAISES),
        ("with pytest.raises((ValueError, Exception)):\n    made(1)", Guard.RAISES),
        ("with pytest.raises(ValueError):\n    made(1)", Guard.RAISES_OTHERS),
        ("with pytest.raises((ValueError, KeyError)):\n    made(1)", Guard.RAISES_OTHERS),
        ("self.assertRaises(TypeError, lambda: made(1))", Guard.RAISES),
        ("self.assertRaises(TypeError, made(1))", Guard.EAGER),
        ("try:\n    made(1)\nexcept TypeError:\n    pass", Guard.MISFIT),
        ("with suppress(TypeError):\n    made(1)", Guard.MISFIT),
        ("try:\n    kept = sorted(made(1))\nexcept TypeError:\n    kept = made()", Guard.MISFIT),
        ("try:\n    kept = sorted(made(1))\nexcept (TypeError, ValueError):\n    kept = old(self.made)", Guard.MISFIT),
        ("try:\n    Ctx(a).made(1)\nexcept TypeError:\n    old()", Guard.MISFIT),
        ("try:\n    made(1)\n    raise Strict('no error')\nexcept TypeError:\n    pass", Guard.MISFIT),
        (
            "def test_one():\n    try:\n        made(1)\n        fail()\n    except TypeError:\n        pass",
            Guard.MISFIT,
        ),
        ("with suppress(TypeError):\n    sorted(made(1))", Guard.MISFIT),
        ("try:\n    kept = sorted(x.made(1))\nexcept TypeError:\n    kept = sorted(old(x))", Guard.MISFIT),
        ("def f():\n  try:\n    return sorted(made(1))\n  except TypeError:\n    pass\n  return made()", Guard.MISFIT),
        # Perhaps it is expected of `sorted`: what is made may not be comparable.
        ("try:\n    kept = sorted(made(1))\nexcept TypeError:\n    kept = []", Guard.SWALLOWED),
        ("try:\n    kept = sorted(made(1))\nexcept TypeError:\n    raise ValueError('no order')", Guard.SWALLOWED),
        ("try:\n    a = sorted(made(1))\nexcept TypeError:\n    a = isinstance(a, made) and 1", Guard.MISFIT),
        ("try:\n    a = sorted(x.made(1))\nexcept TypeError:\n    a = isinstance(x, str)", Guard.SWALLOWED),
        ("try:\n    a = sorted(made(1))\nexcept TypeError:\n    raise Unsorted(a)\nb = made(2)", Guard.SWALLOWED),
        ("if sys.version_info < (3, 11):\n    made(1)", Guard.VERSION),
        ("try:\n    made(1)\nexcept AttributeError:\n    pass", None),
        ("with suppress(AttributeError):\n    made(1)", None),
        ("if hasattr(Ctx, 'made'): made(1)", None),
        ("made(1)", None),
    ],
)
def test_calls_that_do_not_fit_have_guards_of_their_own(code: str, guard: Guard | None) -> None:
    """A call whose arguments may not fit is guarded by what expects a TypeError, and by tests that expect any error."""
    source = Source.of("m.py", code.encode())
    argument = code.index("made(1)") + len("made(")
    reference = Syntax(source).call_covering(source.span(argument, argument + 1))
    assert reference
    assert (reference.attribute, reference.guard) == ("made", guard)


def test_a_branch_for_a_version_hides_no_guard_around_it() -> None:
    """That such a branch ran does not tell what the code around it expects: that guard is told, however far out."""
    code = """
    try:
        if sys.version_info >= (3, 8):
            Ctx.gone()
        Ctx.gone()
    except AttributeError:
        pass
    if sys.version_info >= (3, 8):
        Ctx.gone()
    """
    assert lookups(code) == [Guard.EXCEPT, Guard.EXCEPT, Guard.VERSION]


def test_the_innermost_guard_is_told() -> None:
    """Where several guards hold, the nearest one is the reason."""
    code = """
    try:
        if hasattr(Ctx, "gone"):
            with pytest.raises(AttributeError):
                Ctx.gone()
            Ctx.gone()
        Ctx.gone()
    except AttributeError:
        Ctx.gone()
    """
    assert lookups(code) == [Guard.RAISES, Guard.HASATTR, Guard.EXCEPT, None]

"""The page for people."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.findings import Findings
from netra_repair.repair import Repair
from netra_repair.report.html import render
from netra_repair.report.markup import element, joined, prose, text
from netra_repair.report.words import moved_left, printable
from tests.support import repair_values as values

VOID = {"meta"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</pre></style><style>*{display:none}</style>",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "`</code><script>`",
    "javascript:alert(1)",
    "<!-- -->",
    "]]>",
    "\u202egnp.exe\x1b[31m",
]


@dataclass
class Node:
    """An element of a page: name, attributes, and what is in it."""

    name: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    def all(self, name: str | None = None) -> list[Node]:
        """The elements below with a name, or all, in order."""
        below = [child for child in self.children if isinstance(child, Node)]
        return [node for child in below for node in ([child] if name in (None, child.name) else []) + child.all(name)]

    @property
    def text(self) -> str:
        """All text below."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Page(HTMLParser):
    """Reads a page as a tree; an element that is closed by another's end is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert self._open == [self.root], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag, "elements are nested"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"no comment is written: {data!r}")


def page(report: Findings | Repair) -> Node:
    """A report's page as a tree."""
    return Page(render(report)).root


def called(name: str) -> Repair:
    """The sample fix, with everything that users can name called so."""
    repair = values.repair(name)
    scan = repair.findings
    cause = scan.causes[0]
    sites = tuple(
        replace(site, reference=replace(site.reference, path=name, scope=name), tests=(name,)) for site in cause.sites
    )
    cause = replace(cause, attribute=name, sites=sites, tests=(name,), owner=replace(cause.owner, name=name, file=name))
    plan = replace(
        repair.causes[0].plan,
        cause=cause.key,
        replacement=name,
        files=tuple(
            replace(file, sites=tuple(replace(change, before=name, after=name) for change in file.sites))
            for file in repair.causes[0].plan.files
        ),
    )
    return replace(
        repair,
        findings=replace(scan, root=name, causes=(cause,), warnings=(name,), unexplained=(name,), checker=name),
        causes=(replace(repair.causes[0], key=cause.key, plan=plan, broken=(name,), restored=(name,)),),
        comparison=replace(repair.comparison, regressed=(name,), flaky=(name,)),
        diff=f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{name}\n+{name}\n",
    )


def shape(node: Node) -> Counter[str]:
    """How many elements of each name, and attributes of each name, a page has."""
    nodes = node.all()
    return Counter(each.name for each in nodes) + Counter(f"@{name}" for each in nodes for name in each.attributes)


def words(node: Node) -> str:
    """All text of a page's body, with single spaces."""
    (body,) = node.all("body")
    return " ".join(body.text.split())


def test_a_fix_shows_what_a_person_wants_to_know() -> None:
    """Rates before and after, causes with evidence, changes, refusals, tests, the diff and how to undo are there."""
    told = words(page(values.repair()))
    for expected in (
        "Success rate 25 % → 50 %",
        "3 tests restored, 1 regressed. 4 sites in 2 files rewritten; 2 refused.",
        "2 of 8 tests",
        "class Context has no attribute create_for_user",
        "3 of 4 broken tests pass now",
        "3 verified, 1 rolled back",
        "2 changed sites that no test ran",
        "Chosen: from_request binds 5 of 6 calls",
        "the first is 4.0 ahead",
        "+5.0fit5 of 6 calls bind",
        '- Context.create_for_user("ann", "t-1")+ Context.from_request("ann", thread_id="t-1")',
        "1 guarded: inside if hasattr(…) for this name",
        "1 star-arguments: *fields may hold anything",
        "tests/test_login.py:16:24 in TestGreeting.test_stars",
        "not worked on",
        "tests/test_a.py::test_two",
        "tests/test_c.py::test_now_and_then",
        "2 tests are skipped everywhere",
        "redis (14)",
        "The diff (2 files)",
        "app/api_pb2.py: generated",
        "netra repair undo 20260105-090000-1f2e",
    ):
        assert expected in told, expected


def test_a_scan_shows_what_to_do_next() -> None:
    """A scan tells how much each cause breaks, what was decided, and the command for it."""
    told = words(page(values.findings()))
    assert "3 root causes break 5 tests" in told
    assert "A replacement stands out for 1 of 3 root causes." in told
    assert "netra repair fix app.context.Context.create_for_user" in told
    assert "netra repair fix app.ids.make_id --to new_id" in told
    assert "undo" not in told


def test_a_cause_names_the_method_that_its_own_overrides() -> None:
    """The page tells of the method above, as the text does."""
    cause = replace(values.factory_cause(), family="app.base.Base.made")
    assert "<code>app.base.Base.made</code>, which takes the same" in render(
        replace(values.findings(), causes=(cause,)), ()
    )


def test_a_scan_that_found_nothing_is_a_page_too() -> None:
    """Without a cause the page says so, and still what must be known before trusting that."""
    told = words(page(replace(values.findings(), causes=(), files=0)))
    assert "No root cause found" in told
    assert "no file was analysed: nothing is proven" in told


def test_a_fix_that_wrote_nothing_says_so() -> None:
    """Without a run nothing can be undone, and the page says that the project is as it was."""
    told = words(page(values.repair(run=None)))
    assert "nothing was written to the project" in told
    assert "To take it back" not in told


def test_a_cause_of_a_later_round_has_its_line() -> None:
    """A cause that was repaired has its rates in the overview even where nothing else is known of it."""
    repair = values.repair()
    outcome = replace(repair.causes[0], key="app.later.key")
    told = words(page(replace(repair, causes=(*repair.causes, outcome))))
    assert "app.later.key0 %75 %" in told


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_users_name_becomes_markup(name: str) -> None:
    """Whatever names, paths, tests, sources and diffs hold, the page has the same elements, and shows it as it is."""
    hostile, harmless = page(called(name)), page(called("harmless" if "`" not in name else "`harm`"))
    assert shape(hostile) == shape(harmless)
    assert printable(name) in words(hostile)


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_text_comes_out_of_the_markup_as_it_was(value: str) -> None:
    """Text in an element or an attribute is read back as it was shown, and can be written as UTF-8."""
    markup = element("p", value, title=value)
    (node,) = Page(markup.encode().decode()).root.all()
    shown = printable(value, keep="\t\n")
    assert (node.name, node.attributes, node.text, node.all()) == ("p", {"title": shown}, shown, [])


def test_markup_that_is_glued_together_is_text_again() -> None:
    """Only what `element` made is markup: adding text to it, by mistake, gives text."""
    bold = element("b", "x")
    assert joined(bold, " & ", 3, None, [bold]) == "<b>x</b> &amp; 3<b>x</b>"
    assert joined(bold + "<i>") == "&lt;b&gt;x&lt;/b&gt;&lt;i&gt;"
    assert prose("a `b<c` d ` e") == "a <code>b&lt;c</code> d ` e"
    assert text("\ud800\x00\t") == r"\ud800\x00" + "\t"


@pytest.mark.parametrize(
    "report", [values.findings(), values.repair(), called(HOSTILE[0])], ids=["scan", "fix", "hostile"]
)
def test_the_page_needs_nothing_but_itself(report: Findings | Repair) -> None:
    """No script, no request, no inline style: the policy allows the page's own style sheet and nothing else."""
    tree = page(report)
    (style,) = tree.all("style")
    allowed = b64encode(sha256(style.text.encode()).digest()).decode()
    (policy,) = [meta for meta in tree.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    names = {node.name for node in tree.all()}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "video", "audio"}
    attributes = {name for node in tree.all() for name in node.attributes}
    assert not attributes & {"src", "style", "srcset", "action", "background"}
    assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|expression", style.text)
    assert all(str(link.attributes["href"]).startswith("#") for link in tree.all("a"))


def test_links_lead_somewhere() -> None:
    """Ids are unique, and each link leads to one."""
    tree = page(values.repair())
    ids = [node.attributes["id"] for node in tree.all() if "id" in node.attributes]
    assert len(set(ids)) == len(ids) > 0
    assert {str(link.attributes["href"])[1:] for link in tree.all("a")} <= set(ids)


def test_the_page_can_be_listened_to() -> None:
    """Headings descend without a gap, tables have captions and scoped headers, bars say their numbers."""
    tree = page(values.repair())
    (html,) = tree.all("html")
    assert html.attributes["lang"] == "en"
    levels = [int(node.name[1]) for node in tree.all() if re.fullmatch(r"h[1-6]", node.name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))
    for table in tree.all("table"):
        assert table.all("caption")
        assert all(head.attributes.get("scope") in {"row", "col"} for head in table.all("th"))
    bars = tree.all("svg")
    assert all(bar.attributes["role"] == "img" for bar in bars)
    assert {"Before: 25 %", "After: 50 %", "75 % after"} <= {bar.attributes["aria-label"] for bar in bars}


def test_a_long_diff_is_folded() -> None:
    """A diff of a few hundred lines is open, a longer one is opened file by file; the page holds all of it."""
    repair = values.repair()
    many = "".join(f"+line {number}\n" for number in range(500))
    long = page(replace(repair, diff=f"--- a/x\n+++ b/x\n@@ -0,0 +1,500 @@\n{many}"))
    (folded,) = [node for node in long.all("details") if "x +500 −0" in node.text]
    assert "open" not in folded.attributes
    assert "+line 499" in folded.text
    opened = [node for node in page(repair).all("details") if "open" in node.attributes]
    assert len(opened) == 2


def _schemes() -> list[dict[str, str]]:
    style = files("netra_repair.report").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in style.split("@media", 2)[:2])
    return [light, light | dark]


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("colour", "ground"),
    [
        *((colour, "ground") for colour in ("text", "soft", "accent", "good", "bad", "wait")),
        *((colour, "sunk") for colour in ("text", "soft", "accent")),
        *((colour, f"{colour}-wash") for colour in ("good", "bad", "wait")),
        ("text", "wait-wash"),
    ],
)
def test_every_text_can_be_read(colour: str, ground: str) -> None:
    """Text has a contrast of at least 4.5 to 1 with what it stands on (WCAG 2.2, 1.4.3), in light and in dark."""
    for scheme in _schemes():
        bright, dim = sorted((_luminance(scheme[colour]), _luminance(scheme[ground])), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_a_call_over_several_lines_is_shown_without_its_own_indentation() -> None:
    """What begins in the middle of a line is shown with its other lines as far left as the first one."""
    assert moved_left('O.create(\n        user="ann",\n    )') == ["O.create(", '    user="ann",', ")"]
    assert moved_left("O.create()") == ["O.create()"]
    assert moved_left("a(\n\n    b\n)") == ["a(", "", "    b", ")"]


def test_the_project_is_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page says the folder's name where the user gave a dot, which says nothing elsewhere."""
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert "<dd>shop</dd>" in render(replace(values.findings(), root="."))

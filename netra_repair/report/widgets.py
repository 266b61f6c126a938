"""The pieces that the HTML page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netra_repair.candidates import Decision
from netra_repair.plan import RefusedSite
from netra_repair.references import Reference
from netra_repair.report.chapters import by_reason
from netra_repair.report.markup import Html, element, joined, prose
from netra_repair.report.rates import Rate
from netra_repair.report.unified import DiffLine
from netra_repair.report.words import place

_STYLES = {Decision.CHOSEN: "good", Decision.LIKELY: "good", Decision.TIE: "wait", Decision.NONE: "wait"}


def bar(rate: Rate, label: str) -> Html:
    """A rate as a bar; what it shows is also in its label."""
    percent = rate.percent or 0
    style = "full" if percent == 100 else "mid" if percent >= 50 else "low"
    return element(
        "svg",
        element("rect", width="100", height="1", class_="whole"),
        element("rect", width=f"{percent:g}", height="1", class_=style),
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="bar",
    )


def table(caption: str, heads: Iterable[tuple[str, str | None]], rows: Iterable[Html]) -> Html:
    """A table that scrolls by itself where it is too wide.

    Args:
        caption: what it shows.
        heads: name and style class of each column.
        rows: its rows.
    """
    cells = [element("th", name, scope="col", class_=style) for name, style in heads]
    head = element("thead", element("tr", *cells))
    return element("div", element("table", element("caption", caption), head, element("tbody", *rows)), class_="wide")


def numbers(*values: int) -> Html:
    """Cells of a table."""
    return joined(element("td", f"{value:,}", class_="number") for value in values)


def verdict(decision: Decision) -> Html:
    """What a ranking came to, in its colour."""
    return element("span", decision.value.capitalize(), class_=f"verdict {_STYLES[decision]}")


def grouped(refused: Iterable[RefusedSite]) -> Html:
    """Refused sites by reason, with their places."""
    groups = [
        element(
            "li",
            element("strong", f"{len(sites):,} {refusal.reason.value}"),
            ": ",
            prose(refusal.detail),
            items([where(site.reference) for site in sites]),
        )
        for refusal, sites in by_reason(refused)
    ]
    return element("ul", *groups, class_="plain groups")


def diff(lines: Iterable[DiffLine]) -> Html:
    """Lines of a diff, coloured; their marks tell the same."""
    return element("pre", [element("span", line.text or " ", class_=line.kind.value) for line in lines], class_="diff")


def where(reference: Reference) -> str:
    """A place and what it is inside of."""
    return f"{place(reference)} in {reference.scope}" if reference.scope else place(reference)


def command(words: str) -> Html:
    """A command to type."""
    return element("pre", element("code", words), class_="command")


def folded(title: str, texts: Sequence[str]) -> Html | None:
    """A list that opens on a click; nothing when it is empty."""
    if not texts:
        return None
    return element("details", element("summary", f"{title} ({len(texts):,})"), items(texts))


def items(texts: Iterable[str]) -> Html:
    """A plain list of places or tests."""
    return element("ul", *(element("li", each) for each in texts), class_="plain places")

"""A fix keeps what its tests hold, takes back what they do not, and writes only what was verified: with real runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from netra_repair.causes import RootCause
from netra_repair.fix import Fixer, Options
from netra_repair.git import Git
from netra_repair.project import discover
from netra_repair.refusals import Reason
from netra_repair.repair import CauseRepair, Repair
from netra_repair.report.progress import shown
from netra_repair.scanner import opened
from netra_repair.suite import Suite
from netra_repair.workspace import Workspace
from tests.support.sample_project import contents, repair, write

CARD = """\
class Card:
    limit = 10
    shown_name: str

    @classmethod
    def made(cls, name):
        return cls()

    def first_name(self):
        return "Ann"

    def second_name(self):
        return "Bea"

    def third_name(self):
        return "Cid"
"""
FLOW = """\
from app.card import Card


def flow(card):
    names = [card.first_nmae()]
    names.append(card.secnd_name())
    return [*names, card.third_nam()]


def both(card):
    return card.first_nmae() + card.secnd_name()


def untested(card: Card):
    return card.first_nmae()
"""
QUIET = """\
from app.card import Card


def quiet():
    try:
        return Card.limt
    except Exception:
        return None


def loud():
    return Card.limt
"""
SHOWN = "def shown(card):\n    return card.shwn_name\n"
TESTS = """\
from pathlib import Path

from app.card import Card
from app.flow import both, flow
from app.quiet import loud, quiet
from app.shown import shown


def test_flow():
    assert flow(Card.made("ann")) == ["Ann", "Bea", "Cid"]


def test_both():
    assert both(Card()) == "AnnBea"


def test_quiet():
    assert quiet() is None


def test_loud():
    assert loud() == 10


def test_shown():
    assert shown(Card())


def test_now_and_then():
    seen = Path("seen")
    seen.unlink() if seen.exists() else seen.touch()
    assert seen.exists()
"""
FILES = {
    "app/card.py": CARD,
    "app/flow.py": FLOW,
    "app/quiet.py": QUIET,
    "app/shown.py": SHOWN,
    "tests/test_card.py": TESTS,
}


def fixed(root: Path, options: Options) -> Repair:
    with pytest.MonkeyPatch.context() as patch, shown(Console(quiet=True)) as progress:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        with Workspace(discover(root)) as copy, opened(copy.project, Git(root), progress) as scanner:
            suite = Suite(copy.root, copy.project.python, copy.project.search_paths)
            return Fixer(root, scanner, suite, options, progress).run()


if __name__ == "__main__":
    import tempfile, time
    root = write(Path(tempfile.mkdtemp()), FILES)
    (root / "tests/test_ctx.py").unlink()
    t = time.time()
    r = fixed(root, Options())
    print(time.time() - t)
    for c in r.findings.causes:
        print("found", c.key, len(c.sites), c.tests, c.ranking.reason, [x.name for x in c.ranking.candidates])
    for c in r.causes:
        print(c.key, c.plan.replacement, c.broken, c.restored, c.batches, c.rolled_back, c.uncovered)
        for x in c.plan.refused: print("    refused", x.site.reference.path, x.site.reference.position, x.refusal)
    print(r.comparison, r.remaining, r.run, [c.key for c in r.later])
    print(r.diff)

"""docs/repair.md says what happens: its commands run as they are written, and print what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from netra_repair.refusals import Reason
from tests.support.sample_project import ROOT

PAGE = (ROOT / "docs/repair.md").read_text()
END_OF_BLOCK = "\x1e"


def commands_and_outputs() -> list[tuple[str, str]]:
    """The shell blocks of the page, each with the output shown after it: "" for none. Other blocks are not run."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown: list[tuple[str, str]] = []
    for kind, text in blocks:
        if kind == "sh":
            shown.append((text, ""))
        elif shown and kind == "text":
            shown[-1] = (shown[-1][0], text)
    return shown


def pattern_of(shown: str) -> str:
    """What an output has to match: dots of an ellipsis stand for anything, alone on a line for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in shown.splitlines()
    ]
    return "".join(lines)


def test_the_five_minutes_are_as_written(tmp_path: Path) -> None:
    """Every command of the page runs in the order of the page, and prints what the page shows."""
    blocks = commands_and_outputs()
    script = "".join(f"{commands}printf '{END_OF_BLOCK}'\n" for commands, _ in blocks)
    done = subprocess.run(
        ["bash", "-c", script],  # noqa: S607  # the shell that readers have
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout.split(END_OF_BLOCK)[:-1]
    assert len(printed) == len(blocks) > 3
    for (commands, shown), output in zip(blocks, printed, strict=True):
        assert re.fullmatch(pattern_of(shown), output), f"{commands}\nprints\n{output}\n{done.stderr}"
    assert "Order.from_cart(" not in (tmp_path / "shop/orders.py").read_text()
    assert "O.from_cart(" in (tmp_path / "shop/test_orders.py").read_text()
    assert "Invoice.build(" in (tmp_path / "shop/test_orders.py").read_text()


def test_every_reason_is_explained() -> None:
    """The table of the page names every reason that a report can give, and no other."""
    [table] = re.findall(r"^\| reason \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    cells = [line.split("|")[1] for line in table.strip().splitlines()[2:]]
    named = re.findall(r"`([a-z-]+)`", " ".join(cells))
    assert sorted(named) == sorted(Reason)

"""Diffs: that git and patch make of them exactly what the plan says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.diffs import displayed, unified
from netra_repair.edits import Edit, spliced
from netra_repair.images import Image, images
from netra_repair.source import Source, Span
from tests.support.repair_plans import AWKWARD, renaming, write_files

GIT = shutil.which("git")
PATCH = shutil.which("patch")


def planned(root: Path) -> tuple[Image, ...]:
    """The awkward files, written down, and what they become."""
    write_files(root, AWKWARD)
    return images([renaming(root, AWKWARD, "gone", "found_again")], root)


def git_apply(root: Path, diff: bytes, *options: str) -> None:
    """Lets git apply a diff, without the user's configuration."""
    assert GIT
    command = [GIT, "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", *options]
    done = subprocess.run(command, cwd=root, input=diff, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(GIT is None, reason="no git here")
def test_git_applies_the_diff_of_awkward_files_to_the_byte(tmp_path: Path) -> None:
    """Whatever the encoding, the line ends and the name, `git apply` gives the planned bytes, and `-R` the old ones."""
    made = planned(tmp_path)
    git_apply(tmp_path, unified(made))
    assert {image.path: (tmp_path / image.path).read_bytes() for image in made} == {
        image.path: image.after for image in made
    }
    git_apply(tmp_path, unified(made), "-R")
    assert {path: (tmp_path / path).read_bytes() for path in AWKWARD} == AWKWARD


@pytest.mark.skipif(PATCH is None, reason="no patch here")
def test_patch_applies_the_diff_of_awkward_files_to_the_byte(tmp_path: Path) -> None:
    """GNU patch takes the diff as git does."""
    made = planned(tmp_path)
    assert PATCH
    done = subprocess.run(
        [PATCH, "-p1", "--binary", "--fuzz=0", "--no-backup-if-mismatch"],
        cwd=tmp_path,
        input=unified(made),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert {image.path: (tmp_path / image.path).read_bytes() for image in made} == {
        image.path: image.after for image in made
    }


@st.composite
def edited(draw: st.DrawFn) -> Image:
    """A text of short lines, enough of them for several hunks, and any edits of it."""
    pieces = st.sampled_from(["a\n", "\n", "b\r\n", "a", "\r"])
    text = "".join(draw(st.lists(pieces, min_size=draw(st.sampled_from([0, 60])), max_size=80)))
    source = Source.of("x.py", text.encode())
    starts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    limits = [*starts[1:], len(text)]
    ends = [min(start + draw(st.integers(0, 3)), limit) for start, limit in zip(starts, limits, strict=False)]
    edits = tuple(Edit(Span(*span), draw(st.text("xy\n", max_size=4))) for span in zip(starts, ends, strict=True))
    return Image(source, edits, spliced(source, edits))


def followed(before: bytes, diff: bytes) -> bytes:
    """What a strict reader makes of a diff: every hunk has to stand where it says and count what it says."""
    lines, at, made = before.split(b"\n"), 0, list[bytes]()
    old = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    hunks = diff.split(b"\n@@ -")[1:]
    for hunk in hunks:
        head, *body = hunk.split(b"\n")
        start, count = map(int, head.split(b" ")[0].split(b","))
        new_start, new_count = map(int, head.split(b" ")[1].removeprefix(b"+").split(b","))
        made += old[at : start - bool(count)]
        at = start - bool(count)
        assert len(made) == new_start - bool(new_count)
        mark = len(made)
        gone = 0
        for index, line in enumerate(body):
            if not line or line.startswith(b"\\"):
                continue
            whole = line[1:] if body[index + 1 : index + 2] == [b"\\ No newline at end of file"] else line[1:] + b"\n"
            if line[:1] in (b" ", b"-"):
                assert old[at] == whole
                at, gone = at + 1, gone + 1
            if line[:1] in (b" ", b"+"):
                made.append(whole)
        assert (gone, len(made) - mark) == (count, new_count)
    return b"".join(made + old[at:])


@given(image=edited())
def test_any_edits_give_a_diff_that_a_strict_reader_follows_to_the_planned_bytes(image: Image) -> None:
    """Every hunk stands where it says, counts what it says, and all together give the planned bytes."""
    diff = unified([image])
    assert followed(image.source.data, diff) == image.after
    assert bool(diff) == (image.after != image.source.data)


def test_the_shown_diff_is_text_in_each_files_own_encoding(tmp_path: Path) -> None:
    """People read letters, not bytes: two files of different encodings are both legible in one text."""
    shown = displayed(planned(tmp_path))
    assert "-name = 'Zoë'; a = Ctx.gone  # é\n" in shown
    assert "+name = 'ソ表'; a = Ctx.found_again\n" in shown
    assert "�" not in shown


def test_files_that_stay_as_they_are_are_not_in_the_diff(tmp_path: Path) -> None:
    """A plan whose sites were all taken out gives no header either."""
    write_files(tmp_path, {"a.py": b"a = Ctx.gone\n"})
    (image,) = images([renaming(tmp_path, ["a.py"])], tmp_path)
    assert unified([Image(image.source, (), image.source.data)]) == b""

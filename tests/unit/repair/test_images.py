"""Images: what files become under plans, and which plans do not fit them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.edits import Edit
from netra_repair.errors import PlanError
from netra_repair.images import images, real_path
from netra_repair.plan import FilePlan, Plan
from netra_repair.source import Source, Span
from tests.support.repair_plans import AWKWARD, file_plan, renaming, write_files


def with_file(plan: Plan, **changes: object) -> Plan:
    """The plan with its first file changed."""
    return replace(plan, files=(replace(plan.files[0], **changes), *plan.files[1:]))  # type: ignore[arg-type]  # test data


def test_every_byte_outside_the_edits_stays(tmp_path: Path) -> None:
    """Byte order mark, line ends, encodings, form feeds and ends of files are as they were."""
    write_files(tmp_path, AWKWARD)
    made = {image.path: image.after for image in images([renaming(tmp_path, AWKWARD, "gone", "come")], tmp_path)}
    assert made == {path: data.replace(b".gone", b".come") for path, data in AWKWARD.items()}


@given(parts=st.lists(st.binary(max_size=12).filter(lambda data: b"\n" not in data), min_size=1, max_size=6))
def test_any_surroundings_of_a_site_stay(parts: list[bytes]) -> None:
    """Whatever stands between the sites, in a file of single bytes, comes out as it went in."""
    data = b"# coding: latin-1\n" + b".gone ".join(parts)
    source = Source.of("x.py", data)
    plan = file_plan(source, "gone", "came_back")
    assert FilePlan("x.py", source.digest, file_plan(source, "gone", "came_back").after_sha256, plan.sites) == plan
    texts = [(site.before, site.after) for site in plan.sites]
    assert texts == [("gone", "came_back")] * len(texts)


def test_plans_of_several_causes_share_a_file(tmp_path: Path) -> None:
    """Plans that were made for the same bytes are carried out together, each edit once."""
    write_files(tmp_path, {"a.py": b"x = Ctx.gone(Ctx.lost(1), Ctx.gone)\n"})
    first, second = (renaming(tmp_path, ["a.py"], old, new) for old, new in (("gone", "g"), ("lost", "longer")))
    (image,) = images([first, second, first], tmp_path)
    assert image.after == b"x = Ctx.g(Ctx.longer(1), Ctx.g)\n"
    assert len(image.edits) == 3


def test_sites_may_be_taken_out_of_a_plan(tmp_path: Path) -> None:
    """The rest of a plan is carried out, whatever digest it says the file would have."""
    write_files(tmp_path, {"a.py": b"Ctx.gone\nCtx.gone\n"})
    plan = renaming(tmp_path, ["a.py"])
    (image,) = images([with_file(plan, sites=plan.files[0].sites[1:])], tmp_path)
    assert image.after == b"Ctx.gone\nCtx.found\n"


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    """One changed byte is enough, even where no edit reaches."""
    write_files(tmp_path, {"a.py": b"Ctx.gone\n# old\n"})
    plan = renaming(tmp_path, ["a.py"])
    (tmp_path / "a.py").write_bytes(b"Ctx.gone\n# new\n")
    with pytest.raises(PlanError, match=r"a\.py has changed since the plan was made; make the plan again"):
        images([plan], tmp_path)


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    """A plan for a file that is not there does not fit."""
    write_files(tmp_path, {"a.py": b"Ctx.gone\n"})
    plan = renaming(tmp_path, ["a.py"])
    (tmp_path / "a.py").unlink()
    with pytest.raises(PlanError, match=r"a\.py cannot be read"):
        images([plan], tmp_path)


@pytest.mark.parametrize("edit", [Edit(Span(0, 3), "found"), Edit(Span(4, 8), "other"), Edit(Span(4, 900), "found")])
def test_edits_that_are_not_what_the_site_says_are_refused(tmp_path: Path, edit: Edit) -> None:
    """A changed offset or text in a plan is noticed by the text before and after, and told with its place."""
    write_files(tmp_path, {"a.py": b"Ctx.gone\n"})
    plan = renaming(tmp_path, ["a.py"])
    site = replace(plan.files[0].sites[0], edits=(edit,))
    with pytest.raises(PlanError, match=r"a\.py:1:5"):
        images([with_file(plan, sites=(site,))], tmp_path)


def test_overlapping_plans_are_refused(tmp_path: Path) -> None:
    """Two answers for one place are none."""
    write_files(tmp_path, {"a.py": b"Ctx.gone\n"})
    with pytest.raises(PlanError, match="overlaps"):
        images([renaming(tmp_path, ["a.py"], new="one"), renaming(tmp_path, ["a.py"], new="two")], tmp_path)


@pytest.mark.parametrize("path", ["../a.py", "/etc/passwd", "", ".", "a//b.py", "./a.py", "a/../b.py", "a\0.py", "a/"])
def test_a_path_that_is_not_inside_the_project_is_refused(tmp_path: Path, path: str) -> None:
    """Absolute, climbing and oddly written paths are no paths of the project."""
    with pytest.raises(ValueError, match="expected a path relative to the project's root"):
        real_path(tmp_path, path)


def test_a_link_that_leads_out_of_the_project_is_refused(tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder lets a plan reach outside; a link inside leads to the real file."""
    inside, outside = tmp_path / "project", tmp_path / "outside"
    write_files(inside, {"real.py": b"Ctx.gone\n"})
    write_files(outside, {"a.py": b"Ctx.gone\n"})
    (inside / "link.py").symlink_to(outside / "a.py")
    (inside / "folder").symlink_to(outside)
    (inside / "alias.py").symlink_to("real.py")
    for path in ("link.py", "folder/a.py"):
        with pytest.raises(PlanError, match="leads out of the project"):
            images([renaming(inside, [path])], inside)
    assert real_path(inside, "alias.py") == inside / "real.py"
    with pytest.raises(PlanError, match="are the same file"):
        images([renaming(inside, ["alias.py", "real.py"])], inside)


def test_a_name_that_the_files_encoding_lacks_is_refused(tmp_path: Path) -> None:
    """A plan that cannot be written in the file's own encoding does not fit it."""
    write_files(tmp_path, {"a.py": b"# coding: latin-1\nCtx.gone\n"})
    plan = renaming(tmp_path, ["a.py"])
    site = replace(plan.files[0].sites[0], edits=(Edit(plan.files[0].sites[0].edits[0].span, "名"),))
    with pytest.raises(PlanError, match=r"a\.py:2:5"):
        images([with_file(plan, sites=(site,))], tmp_path)

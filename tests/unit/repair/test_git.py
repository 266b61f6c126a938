"""Git: what is dirty, and what became of a name. Against real repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netra_repair.git import Git
from netra_repair.history import Verdict
from netra_repair.owners import Owner, OwnerKind
from tests.support.git_repository import GIT, Repo

CTX = Owner("pkg.ctx.Ctx", OwnerKind.CLASS, "pkg/ctx.py", 1)

BODY = """
        value = cls()
        value.user_id = user_id
        value.thread_id = thread_id
        registry.append(value)
        return value
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "project")


def method(name: str, parameters: str = "user_id, thread_id", body: str = BODY) -> str:
    return f"    @classmethod\n    def {name}(cls, {parameters}):{body}\n"


def ctx(*methods: str) -> str:
    return "class Ctx:\n    kind = 1\n\n" + "".join(methods)


def test_dirty_untracked_and_tracked_files_are_told_apart(repo: Repo) -> None:
    """Changed, staged, deleted and renamed files are dirty; unknown ones are not; names may hold anything."""
    repo.commit(a="1\n", b="1\n", c="1\n", pkg__d="1\n")
    repo.write('sp äce\n"q".py', "1\n")
    repo.git("add", "-A")
    repo.git("commit", "-q", "-m", "odd")
    repo.write("a.py", "2\n")
    repo.write("b.py", "2\n")
    repo.git("add", "b.py")
    (repo.root / "c.py").unlink()
    repo.git("mv", 'sp äce\n"q".py', "mövéd.py")
    repo.write("new/ünknown.py", "1\n")
    git = Git(repo.root)
    assert git.unavailable is None
    assert git.dirty() == {"a.py", "b.py", "c.py", 'sp äce\n"q".py', "mövéd.py"}
    assert git.tracked == {"a.py", "b.py", "c.py", "pkg/d.py", "mövéd.py"}


def test_a_project_inside_a_repository_is_told_by_its_own_paths(repo: Repo) -> None:
    """Where the repository begins above the project, paths are relative to the project and its neighbours unseen."""
    repo.commit(sub__pkg__ctx=ctx(method("made")), other="1\n")
    repo.write("sub/pkg/ctx.py", ctx())
    repo.write("other.py", "2\n")
    git = Git(repo.root / "sub")
    assert git.dirty() == {"pkg/ctx.py"}
    repo.git("commit", "-qam", "removed")
    found = git.past(CTX, "made")
    assert found.verdict is Verdict.REMOVED
    assert found.commit == repo.git("rev-parse", "HEAD")[:10]


def test_without_a_repository_nothing_is_known(tmp_path: Path) -> None:
    """A plain folder and a repository without commits give no verdict and say why."""
    assert "not a git repository" in Git(tmp_path).past(CTX, "gone").detail
    assert Git(tmp_path).dirty() == frozenset()
    empty = Repo(tmp_path / "empty")
    assert Git(empty.root).past(CTX, "gone").verdict is Verdict.UNKNOWN


def test_a_name_that_never_was_there_is_told(repo: Repo) -> None:
    """Calls of a name do not make it exist: only definitions count, and only those of the owner."""
    repo.commit(
        pkg__ctx=ctx(method("made")),
        caller="Ctx.create_for_user(1)\n",
        other="class O:\n def create_for_user(s): pass\n",
    )
    repo.commit(other="class O: pass\n")
    found = Git(repo.root).past(CTX, "create_for_user")
    assert found.verdict is Verdict.NEVER_EXISTED


def test_a_method_that_another_class_of_the_file_got_is_removed(repo: Repo) -> None:
    """That the file holds as many of the name as before does not hide the removal."""
    other = "class Other:\n" + "".join(f"    field_{number} = {number}\n" for number in range(20)) + "\n"
    repo.commit(pkg__ctx=ctx(method("gone")) + other)
    repo.commit(pkg__ctx=ctx(method("made", body="\n        return 1\n")) + other + method("gone"))
    assert Git(repo.root).past(CTX, "gone").verdict is Verdict.REMOVED


def test_a_removed_name_is_told_with_its_signature_and_its_neighbours(repo: Repo) -> None:
    """A removal without a successor names the commit, what the name took, and who stood beside it."""
    repo.commit(pkg__ctx=ctx(method("made"), method("gone", "user_id, *, limit=3", "\n        return limit\n")))
    commit = repo.commit(pkg__ctx=ctx(method("made")))
    repo.commit(pkg__ctx=ctx(method("made"), method("later", body="\n        return 1\n")))
    found = Git(repo.root).past(CTX, "gone")
    assert (found.verdict, found.commit, found.renamed_to) == (Verdict.REMOVED, commit[:10], None)
    assert str(found.signature) == "(user_id, *, limit=…)"
    assert found.beside == ("kind", "made")


def test_a_body_that_went_to_another_name_is_a_rename(repo: Repo) -> None:
    """The method that got the body in the same commit is the successor, also among other new methods."""
    repo.commit(pkg__ctx=ctx(method("create_for_user", "user_id, thread")))
    other = method(
        "totally_new", body="\n        for each in registry:\n            yield each.user_id, len(registry)\n"
    )
    repo.commit(pkg__ctx=ctx(other, method("from_request", "user_id, thread_id")))
    found = Git(repo.root).past(CTX, "create_for_user", {"from_request", "totally_new"})
    assert (found.verdict, found.renamed_to) == (Verdict.RENAMED, "from_request")
    assert found.renamed_parameters == (("thread", "thread_id"),)
    assert str(found.signature) == "(user_id, thread)"


def test_what_moved_to_a_new_base_and_was_renamed_is_found(repo: Repo) -> None:
    """A class that was taken out of another one has that one's past: what it lacks went to another name on the way."""
    repo.commit(pkg__ctx=ctx(method("create_for_user"), method("copied", "other", "\n        return other\n")))
    moved = ctx(method("from_request"), method("copied", "other", "\n        return other\n"))
    commit = repo.commit(pkg__ctx=moved.replace("class Ctx", "class Core") + "\n\nclass Ctx(Core):\n    pass\n")
    past = Git(repo.root).past(Owner("pkg.ctx.Core", OwnerKind.CLASS, "pkg/ctx.py", 1), "create_for_user")
    assert (past.verdict, past.renamed_to, past.commit) == (Verdict.RENAMED, "from_request", commit[:10])
    assert past.beside == ("kind", "copied")


def test_a_new_class_beside_another_has_no_past_of_that(repo: Repo) -> None:
    """A class that shares little with the one that had the name was not taken out of it."""
    repo.commit(pkg__ctx=ctx(method("create_for_user")))
    repo.commit(pkg__ctx="class Ctx:\n    pass\n\n\nclass Core:\n" + method("from_request") + "    a = b = 1\n")
    past = Git(repo.root).past(Owner("pkg.ctx.Core", OwnerKind.CLASS, "pkg/ctx.py", 1), "create_for_user")
    assert past.verdict is Verdict.NEVER_EXISTED


def test_two_names_with_the_same_body_are_no_rename(repo: Repo) -> None:
    """Where two new methods got the body, neither is taken for the successor."""
    repo.commit(pkg__ctx=ctx(method("gone")))
    repo.commit(pkg__ctx=ctx(method("one"), method("two")))
    assert Git(repo.root).past(CTX, "gone").verdict is Verdict.REMOVED


def test_a_short_body_alone_proves_nothing(repo: Repo) -> None:
    """`return self._a` becomes `return self._b` in many classes: that is no rename."""
    repo.commit(pkg__ctx="class Ctx:\n    def size(self): return self._size\n\n    def name(self): return self._name\n")
    repo.commit(pkg__ctx="class Ctx:\n    def title(self): return self._title\n")
    assert Git(repo.root).past(CTX, "size").verdict is Verdict.REMOVED


def test_calls_that_were_changed_in_the_same_commit_tell_the_successor(repo: Repo) -> None:
    """When callers were moved to a method that was there all along, that one is the successor."""
    calls = "".join(f"x{i} = Ctx.create_for_user(user_id={i})\n" for i in range(4))
    repo.commit(pkg__ctx=ctx(method("create_for_user", body="\n        return 1\n"), method("from_request")), app=calls)
    repo.commit(pkg__ctx=ctx(method("from_request")), app=calls.replace("create_for_user", "from_request"))
    found = Git(repo.root).past(CTX, "create_for_user")
    assert (found.verdict, found.renamed_to) == (Verdict.RENAMED, "from_request")
    assert "4 of its calls" in found.detail
    assert "from_request" not in found.beside


def test_calls_that_were_changed_in_different_ways_tell_nothing(repo: Repo) -> None:
    """When callers went to two methods, neither is the successor."""
    calls = "".join(f"x{i} = Ctx.gone(user_id={i})\n" for i in range(4))
    methods = (method("one"), method("two"))
    repo.commit(pkg__ctx=ctx(method("gone", body="\n        return 1\n"), *methods), app=calls)
    split = calls.replace("gone", "one", 2).replace("gone", "two")
    repo.commit(pkg__ctx=ctx(*methods), app=split)
    assert Git(repo.root).past(CTX, "gone").verdict is Verdict.REMOVED


def test_renames_after_one_another_are_followed(repo: Repo) -> None:
    """A name that was renamed twice leads to the one that is there now."""
    repo.commit(pkg__ctx=ctx(method("first", "user_id, t")))
    repo.commit(pkg__ctx=ctx(method("second", "user_id, thread")))
    repo.commit(pkg__ctx=ctx(method("third", "user_id, thread_id")))
    found = Git(repo.root).past(CTX, "first", {"third"})
    assert (found.verdict, found.renamed_to) == (Verdict.RENAMED, "third")
    assert found.renamed_parameters == (("t", "thread_id"),)


def test_a_rename_that_leads_nowhere_is_a_removal(repo: Repo) -> None:
    """A successor that is gone too is not offered."""
    repo.commit(pkg__ctx=ctx(method("first")))
    repo.commit(pkg__ctx=ctx(method("second")))
    repo.commit(pkg__ctx=ctx())
    found = Git(repo.root).past(CTX, "first", {"kind"})
    assert (found.verdict, found.renamed_to) == (Verdict.REMOVED, None)


def test_a_file_is_followed_through_its_own_rename(repo: Repo) -> None:
    """What happened while the file had another name counts."""
    repo.commit(pkg__old=ctx(method("create_for_user")) + "# tail\n" * 30)
    repo.commit(pkg__old=ctx(method("from_request")) + "# tail\n" * 30)
    (repo.root / "pkg/old.py").rename(repo.root / "pkg/ctx.py")
    repo.commit("moved")
    assert Git(repo.root).past(CTX, "create_for_user").renamed_to == "from_request"


def test_what_is_not_committed_yet_counts(repo: Repo) -> None:
    """A rename in the working tree is found before it is committed."""
    repo.commit(pkg__ctx=ctx(method("create_for_user")))
    repo.write("pkg/ctx.py", ctx(method("from_request")))
    found = Git(repo.root).past(CTX, "create_for_user")
    assert (found.renamed_to, found.commit) == ("from_request", None)
    assert "working tree" in found.detail


def test_fields_and_module_functions_have_a_past_too(repo: Repo) -> None:
    """An annotated field at the same place with the same type, and a function with the same body, are renames."""
    function = (
        "def {}(path, mode):\n    with open(path, mode) as file:\n        return file.read().strip().split('\\n')\n"
    )
    repo.commit(
        pkg__ctx="class Ctx:\n    a: int = 0\n    uid: str = ''\n    z: bool = True\n", util=function.format("load")
    )
    repo.commit(
        pkg__ctx="class Ctx:\n    a: int = 0\n    user_id: str = ''\n    z: bool = True\n",
        util=function.format("read_lines"),
    )
    git = Git(repo.root)
    assert git.past(CTX, "uid").renamed_to == "user_id"
    assert git.past(Owner("util", OwnerKind.MODULE, "util.py", 1), "load").renamed_to == "read_lines"


def test_a_renamed_parameter_is_found_by_its_position(repo: Repo) -> None:
    """The parameter that stands where the old one stood is its new name; a removed one has none."""
    repo.commit(pkg__ctx=ctx(method("made", "user_id, thread, run=None, *, deadline, extra=1")))
    repo.commit(pkg__ctx=ctx(method("made", "user_id, thread_id, run=None, *, until, extra=1")))
    repo.commit(pkg__ctx=ctx(method("made", "user_id, thread_id, run=None, *, until")))
    git = Git(repo.root)
    assert git.past_parameter(CTX, "made", "thread").renamed_to == "thread_id"
    assert git.past_parameter(CTX, "made", "deadline").renamed_to == "until"
    removed = git.past_parameter(CTX, "made", "extra")
    assert (removed.verdict, removed.renamed_to) == (Verdict.REMOVED, None)
    assert git.past_parameter(CTX, "made", "never").verdict is Verdict.NEVER_EXISTED


def test_a_parameter_of_a_made_constructor_is_its_field(repo: Repo) -> None:
    """The constructor of a data class has the past of its fields."""
    repo.commit(pkg__ctx="class Ctx:\n    uid: str\n    z: int\n")
    repo.commit(pkg__ctx="class Ctx:\n    user_id: str\n    z: int\n")
    assert Git(repo.root).past_parameter(CTX, "__init__", "uid").renamed_to == "user_id"


def test_a_shallow_clone_gives_no_false_verdict(repo: Repo, tmp_path: Path) -> None:
    """Where the history is cut off, a name that is not found may still have been there."""
    repo.commit(pkg__ctx=ctx(method("gone")))
    repo.commit(pkg__ctx=ctx())
    repo.commit(a="1\n")
    subprocess.run([GIT, "clone", "-q", "--depth=1", repo.root.as_uri(), "cut"], cwd=tmp_path, check=True)
    git = Git(tmp_path / "cut")
    assert git.shallow
    assert git.past(CTX, "gone").verdict is Verdict.UNKNOWN
    assert Git(repo.root).past(CTX, "gone").verdict is Verdict.REMOVED


def test_what_the_project_does_not_own_has_no_past(repo: Repo) -> None:
    """Libraries, and files that git does not know, give no verdict."""
    repo.commit(a="1\n")
    repo.write("pkg/ctx.py", ctx())
    git = Git(repo.root)
    assert git.past(CTX, "gone").verdict is Verdict.UNKNOWN
    assert git.past(Owner("lib.C", OwnerKind.CLASS, "/lib/c.py", 1), "gone").verdict is Verdict.UNKNOWN


def test_old_files_that_do_not_parse_do_no_harm(repo: Repo) -> None:
    """A version that is no Python of today is passed over."""
    repo.commit(pkg__ctx='class Ctx:\n    def gone(self):\n        print "old"\n')
    repo.commit(pkg__ctx=ctx())
    assert Git(repo.root).past(CTX, "gone").verdict is Verdict.NEVER_EXISTED


def test_hostile_settings_change_nothing(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's configuration, a pager, an external diff and a foreign GIT_DIR do not reach the answers."""
    repo.commit(pkg__ctx=ctx(method("create_for_user")))
    repo.commit(pkg__ctx=ctx(method("from_request")))
    repo.write("a ü.py", "1\n")
    repo.git("add", "-A")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(
        "[core]\n quotePath = true\n pager = false\n[diff]\n external = false\n noprefix = true\n renames = false\n"
        "[log]\n showSignature = true\n follow = true\n[color]\n ui = always\n[status]\n relativePaths = false\n"
        " showUntrackedFiles = no\n short = true\n branch = true\n[format]\n pretty = oneline\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    git = Git(repo.root)
    assert git.past(CTX, "create_for_user").renamed_to == "from_request"
    assert git.dirty() == {"a ü.py"}


def test_a_git_that_hangs_is_given_up(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes too long ends, and the verdict is that nothing is known."""
    repo.commit(pkg__ctx=ctx())
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *--max-count*) exec sleep 50;; esac\nexec {GIT} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    found = Git(repo.root, seconds=0.3).past(CTX, "gone")
    assert (found.verdict, found.detail) == (Verdict.UNKNOWN, "the search of the history took too long")


@pytest.mark.parametrize("ask", [lambda git: git.dirty(), lambda git: git.past(CTX, "gone")], ids=["dirty", "past"])
def test_asking_leaves_the_repository_as_it_is(repo: Repo, ask: Callable[[Git], object]) -> None:
    """Not even the index is refreshed."""
    repo.commit(pkg__ctx=ctx(method("gone")))
    repo.write("pkg/ctx.py", ctx())
    before = {path: path.read_bytes() for path in repo.root.rglob("*") if path.is_file()}
    ask(Git(repo.root))
    assert {path: path.read_bytes() for path in repo.root.rglob("*") if path.is_file()} == before

"""Plans made by a simple search for a name, for tests of what is done with plans."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from netra_repair.causes import Proof, Site
from netra_repair.edits import Edit, spliced
from netra_repair.images import shown
from netra_repair.owners import Access, Owner, OwnerKind
from netra_repair.plan import FilePlan, Plan, SiteEdit
from netra_repair.references import Reference, Use
from netra_repair.source import Source, Span

OWNER = Owner("pkg.ctx.Ctx", OwnerKind.CLASS, "pkg/ctx.py", 1)


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    """Writes files of a project, with their folders."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def site_at(source: Source, name: Span) -> Site:
    """A proven site whose name stands there; what comes before it on the line is taken for its receiver."""
    return Site(
        Reference(source.path, source.slice(name), name, source.position(name.start), None, name, Use.REFERENCE),
        OWNER,
        Access.CLASS,
        (Proof.CHECKER,),
        None,
    )


def file_plan(source: Source, old: str, new: str) -> FilePlan:
    """The plan that puts one name in place of another wherever it stands after a dot."""
    found = re.finditer(rb"(?<=\.)" + old.encode() + rb"\b", source.data)
    sites = []
    for match in found:
        site = site_at(source, Span(match.start(), match.end()))
        edits = (Edit(site.reference.name, new),)
        sites.append(SiteEdit(site, new, edits, *shown(source, site.reference, edits)))
    after = spliced(source, [edit for site in sites for edit in site.edits])
    return FilePlan(source.path, source.digest, hashlib.sha256(after).hexdigest(), tuple(sites))


def renaming(root: Path, paths: Iterable[str], old: str = "gone", new: str = "found") -> Plan:
    """A plan for files of a project."""
    files = tuple(file_plan(Source.read(root, path), old, new) for path in sorted(paths))
    return Plan(f"{OWNER.name}.{old}", new, None, files, ())


# What editors and decades leave in files; each names `.gone` at least once.
AWKWARD = {
    "plain.py": b"a = Ctx.gone\n",
    "bom.py": b"\xef\xbb\xbfa = Ctx.gone\n",
    "crlf.py": b"a = 1\r\nb = Ctx.gone\r\nc = 2\r\n",
    "mixed.py": b"a = 1\nb = Ctx.gone\r\nc = Ctx.gone\rd = Ctx.gone\n",
    "latin.py": "# -*- coding: latin-1 -*-\nname = 'Zoë'; a = Ctx.gone  # é\nb = Ctx.gone\n".encode("latin-1"),
    "shift_jis.py": "# coding: shift_jis\nname = 'ソ表'; a = Ctx.gone\n".encode("shift_jis"),
    "form_feed.py": b"a = 1\n\x0cb = Ctx.gone\n\x0c\n",
    "no_end.py": b"a = 1\nb = Ctx.gone",
    "no_end_below.py": b"a = Ctx.gone\nb = 1",
    "no_end_far_below.py": b"a = Ctx.gone\n1\n2\n3\n4\n5",
    "lone_return_end.py": b"a = Ctx.gone\r",
    "tabs.py": b"def f():\n\tif 1:\n\t\treturn Ctx.gone\n",
    "separator.py": "a = '\u2028\u2029\x85'; b = Ctx.gone\nc = '😀e\u0301'; d = Ctx.gone\n".encode(),
    "a folder/two  blanks.py": b"a = Ctx.gone\n",
    'a folder/quo"ted\\\t.py': b"a = Ctx.gone\n",
    "a folder/Ünïcode.py": b"a = Ctx.gone\n",
    "often.py": b"".join(b"a%d = Ctx.gone(Ctx.gone)\n" % n + b"\n" * (n % 11) for n in range(40)),
}


def quick_folder(slow: Path) -> Path:
    """A new folder in memory where there is one, since durable writes wait for the disk; else the slow one."""
    memory = Path("/dev/shm")  # noqa: S108  # a fresh folder of its own in it
    if not os.access(memory, os.W_OK):
        return slow
    return Path(tempfile.mkdtemp(dir=memory))

"""Injected drift in real packages: what the repair tool finds, what it mends, and what it leaves alone.

    python -m benchmarks.repair prepare           # once: packages, environments, truth and drifts; minutes
    python -m benchmarks.repair run               # the development half
    python -m benchmarks.repair run --held-out    # the other half: only when the tool is done
    python -m benchmarks.repair report            # the tables, from the journal

A run goes on where the last one stopped, also after `--minutes`; `--again` forgets it. See also
benchmarks.repair.peers and .speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from random import Random
from statistics import fmean

from rich.console import Console
from rich.table import Table

from benchmarks.repair.drift import Drift, Kind
from benchmarks.repair.injections import SEED
from benchmarks.repair.judge import baseline
from benchmarks.repair.packages import CACHE, PACKAGES, RETIRED, Package, chosen, prepare
from benchmarks.repair.score import Result, Summary, summary
from benchmarks.repair.selection import grouped, selected
from benchmarks.repair.trials import GroupResult, append, cluster, groups, mend, read, results

JOURNAL = CACHE / "journal.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.repair", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--journal", type=Path, default=JOURNAL, metavar="FILE", help=f"default: {JOURNAL}")
    common.add_argument("--workers", type=int, default=2, metavar="N", help="packages or drifts at a time (default: 2)")
    ready = commands.add_parser("prepare", parents=[common], help="fetch, install, trace, and try the drifts")
    ready.set_defaults(run=_prepare)
    running = commands.add_parser("run", parents=[common], help="let the tool mend every drift of one half")
    running.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these")
    running.add_argument("--held-out", action="store_true", help="the held-out half")
    running.add_argument("--kind", action="append", type=Kind, metavar="KIND", help="only drifts of this kind")
    running.add_argument("--only", action="append", metavar="ID", help='only this drift, or this group: "a-1 + a-2"')
    running.add_argument("--minutes", type=float, metavar="N", help="begin nothing new after that; run again to go on")
    running.add_argument("--again", action="store_true", help="forget what the journal says of them")
    running.set_defaults(run=_run)
    telling = commands.add_parser("report", parents=[common], help="print the tables")
    telling.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    telling.set_defaults(run=_report)
    asked = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = asked.run
    return run(asked)


def _prepare(asked: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("package", "half", "tests", "failing", "drifts", "kinds", "places", "traps", "groups")
    with ProcessPoolExecutor(asked.workers) as pool:
        for package, row in zip(PACKAGES, pool.map(_prepared, PACKAGES), strict=True):
            table.add_row(package.name, "held out" if package.held_out else "development", *row)
    console.print(table)
    console.print(f"seed {SEED}; the drifts' digest is {digest(PACKAGES)}")
    return 0


def _prepared(package: Package) -> tuple[str, ...]:
    prepare(package)
    drifts = selected(package)
    ended = Counter(baseline(package).values())
    return (
        str(ended["passed"]),
        str(ended["failed"]),
        str(len(drifts)),
        str(len({drift.kind for drift in drifts})),
        str(sum(len(drift.spots) for drift in drifts)),
        str(sum(len(drift.others) + len(drift.mixed) for drift in drifts)),
        str(len(list(grouped(package, drifts)))),
    )


def digest(packages: Iterable[Package]) -> str:
    """One short word for all drifts: two machines that print the same injected the same."""
    said = hashlib.sha256()
    for package in packages:
        for drift in selected(package):
            said.update(json.dumps([drift.id, drift.kind, drift.answer, [asdict(s) for s in drift.splices]]).encode())
    return said.hexdigest()[:16]


def _run(asked: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)
    of_each: list[list[tuple[Package, Drift | tuple[Drift, ...]]]] = []
    for package in chosen(asked.packages or None, asked.held_out):
        prepare(package)
        drifts = selected(package)
        own = [drift for drift in drifts if not asked.kind or drift.kind in asked.kind]
        several = list(grouped(package, drifts)) if not asked.kind else []
        items: list[Drift | tuple[Drift, ...]] = [*own, *several]
        Random(f"{SEED} order {package.name}").shuffle(items)
        of_each.append([(package, item) for item in items])
    # In turn, and in no order of their kinds: a run that is stopped is a fair sample.
    work = [item for turn in zip_longest(*of_each) for item in turn if item is not None]
    if asked.only:
        work = [(package, item) for package, item in work if _name(item) in asked.only]
    names = {_name(item) for _, item in work}
    if asked.again:
        kept = [result for result in read(asked.journal) if result.id not in names]
        asked.journal.unlink(missing_ok=True)
        for result in kept:
            append(asked.journal, result)
    done = {result.id for result in read(asked.journal)}
    left = [(package, item) for package, item in work if _name(item) not in done]
    for number, result in enumerate(_results(left, asked.workers, asked.minutes), 1):
        append(asked.journal, result)
        console.print(f"{number}/{len(left)} {_line(result)}", highlight=False, markup=False, soft_wrap=True)
    return _report(asked)


def _results(
    work: Iterable[tuple[Package, Drift | tuple[Drift, ...]]], workers: int, minutes: float | None
) -> Iterator[Result | GroupResult]:
    """What becomes of work, as it is done; nothing is begun after some minutes, and what runs then is waited for."""
    until = None if minutes is None else time.monotonic() + 60 * minutes
    waiting = iter(work)
    running: set[Future[Result | GroupResult]] = set()
    with ProcessPoolExecutor(workers) as pool:
        while True:
            while len(running) < workers and (until is None or time.monotonic() < until):
                begun = next(waiting, None)
                if begun is None:
                    break
                running.add(pool.submit(_tried, *begun))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _name(item: Drift | tuple[Drift, ...]) -> str:
    return item.id if isinstance(item, Drift) else " + ".join(drift.id for drift in item)


def _tried(package: Package, item: Drift | tuple[Drift, ...]) -> Result | GroupResult:
    return mend(package, item) if isinstance(item, Drift) else cluster(package, item)


def _line(result: Result | GroupResult) -> str:
    if result.error:
        return f"{result.id}: {result.error}"
    if isinstance(result, GroupResult):
        return f"{result.id}: ARI {result.ari:.3f} over {result.tests} tests, {result.seconds:.0f} s"
    count = result.sites
    words = [f"{result.id} {result.kind}: {count.right} right, {count.wrong} wrong, {count.left} left"]
    words += [f"restored {result.restored}/{result.restorable if result.restorable else result.broken}"]
    words += [f"chose {result.chosen!r} for {result.answer!r}"] if result.chosen != result.answer else []
    words += [f"{count} {reason}" for reason, count in result.reasons.items()]
    words += ["WRONG CHOICE"] if result.wrong_choice else []
    words += [f"{len(result.regressed)} REGRESSED"] if result.regressed else []
    return ", ".join([*words, f"{result.seconds:.0f} s"])


def _report(asked: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)
    found = read(asked.journal)
    numbers = {}
    parts = {
        "development half": [package for package in PACKAGES if not package.held_out],
        "held-out half": [package for package in PACKAGES if package.held_out],
        "retired packages": RETIRED,
    }
    for title, packages in parts.items():
        names = {package.name for package in packages}
        mine = [result for result in results(found) if result.package in names]
        several = [result for result in groups(found) if result.package in names]
        if not mine:
            continue
        total = summary(mine)
        ari = fmean(result.ari for result in several) if several else None
        console.print(_totals(title, total, several, ari))
        console.print(_kinds(title, mine))
        console.print(_reasons(title, mine))
        numbers[title] = {**asdict(total), "ari": ari, "packages": len({result.package for result in mine})}
    if getattr(asked, "json", None):
        asked.json.write_text(json.dumps(numbers, indent=2))
    return 0


def _totals(title: str, total: Summary, several: Sequence[GroupResult], ari: float | None) -> Table:
    """The numbers that the issue asks for, with what it asks."""
    table = Table("what", "measured", "asked", title=f"{title}: {total.drifts} drifts")
    count = total.sites
    table.add_row(
        "site precision", f"{_percent(count.precision)} ({count.right} right, {count.wrong} wrong)", "≥ 99.9 %"
    )
    table.add_row("site recall, mended", f"{_percent(count.recall)} ({count.left} left)", "≥ 98 %")
    table.add_row("site recall, listed with proof", _percent(total.seen), "")
    table.add_row("places changed without truth", str(count.unlabelled), "")
    table.add_row(
        "clustering of failing tests (ARI)", "–" if ari is None else f"{ari:.4f} ({len(several)} groups)", "≥ 0.98"
    )
    table.add_row("first candidate right", _percent(total.top1), "≥ 90 %")
    table.add_row("wrong automatic choices", str(total.wrong_choices), "0")
    table.add_row("repairable drifts left without a choice", str(total.abstained), "")
    table.add_row("byte-exact edits", _percent(total.exact), "100 %")
    table.add_row("tests restored", _percent(total.restored), "≥ 95 %")
    table.add_row("regressions", str(total.regressions), "0")
    table.add_row("no successor: left alone", _percent(total.right_abstentions), "")
    table.add_row("nothing broken: false alarms", str(total.false_alarms), "")
    table.add_row("runs without a result", str(total.failed + sum(bool(group.error) for group in several)), "0")
    table.add_row("tool's wall time", f"{total.seconds:.0f} s, at most {total.peak_mib:.0f} MiB at once", "")
    return table


def _kinds(title: str, mine: Sequence[Result]) -> Table:
    table = Table(
        "kind", "drifts", "right", "wrong", "left", "no choice", "wrong choice", "restored", title=f"{title}, by kind"
    )
    for kind in Kind:
        some = [result for result in mine if result.kind == kind.value]
        count = summary(some).sites
        table.add_row(
            kind.value,
            *(str(number) for number in (len(some), count.right, count.wrong, count.left)),
            str(sum(not result.chosen for result in some)),
            str(sum(result.wrong_choice for result in some)),
            f"{sum(result.restored for result in some)}/{sum(result.restorable for result in some)}",
        )
    return table


def _reasons(title: str, mine: Sequence[Result]) -> Table:
    """Abstentions in their own table: why places to mend were left alone."""
    table = Table("why a place to mend was left alone", "places", title=f"{title}, abstentions")
    counts: Counter[str] = Counter()
    for result in mine:
        if result.expected == "repair":
            counts.update({"no result": result.sites.left} if result.error else dict(result.reasons))
    for reason, count in counts.most_common():
        table.add_row(reason, str(count))
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


if __name__ == "__main__":
    sys.exit(main())

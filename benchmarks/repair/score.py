"""What the numbers mean: pure functions over what was injected, what was changed and what the tests said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

from benchmarks.repair.drift import Drift, Expectation, Spot

_IDENTIFIER = re.compile(rb"\w*")
_KEYWORD = re.compile(rb"(\w+\s*=)(?!=)")


@dataclass(frozen=True, slots=True)
class Change:
    """What stands at a spot now.

    Attributes:
        spot: the place.
        text: what stands there; equal to `spot.old` when it was left alone.
    """

    spot: Spot
    text: str


def changes(before: bytes, after: bytes, spots: Iterable[Spot]) -> list[Change] | None:
    """Compares a file with what became of it.

    Args:
        before: the drifted file.
        after: the file now.
        spots: every place in it where something may stand instead.

    Returns:
        What stands at each spot, in order; None when any other byte differs, so that the edit was not exact.
    """
    ordered = sorted(spots, key=lambda spot: spot.start)
    found: list[Change] = []
    old, new = 0, 0
    for number, spot in enumerate(ordered):
        piece = before[old : spot.start]
        if after[new : new + len(piece)] != piece:
            return None
        new += len(piece)
        old = spot.start + len(spot.old.encode())
        end = ordered[number + 1].start if number + 1 < len(ordered) else len(before)
        text = _standing(after, new, spot, before[old:end])
        found.append(Change(spot, text.decode()))
        new += len(text)
    return found if after[new:] == before[old:] else None


def _standing(after: bytes, at: int, spot: Spot, follows: bytes) -> bytes:
    """The word or the inserted keyword at a spot."""
    if spot.old:
        word = _IDENTIFIER.match(after, at)
        assert word is not None
        return word[0]
    if after[at : at + len(follows)] == follows:
        return b""
    keyword = _KEYWORD.match(after, at)
    return keyword[0] if keyword else b""


@dataclass
class SiteCount:
    """Places, by what was done to them.

    Attributes:
        right: mended as they should be.
        wrong: changed, and should not have been, or to something else.
        left: should have been mended, and were left alone.
        unlabelled: changed where no test comes, so that nobody knows.
    """

    right: int = 0
    wrong: int = 0
    left: int = 0
    unlabelled: int = 0

    def __add__(self, other: SiteCount) -> SiteCount:
        return SiteCount(
            self.right + other.right,
            self.wrong + other.wrong,
            self.left + other.left,
            self.unlabelled + other.unlabelled,
        )

    @property
    def precision(self) -> float | None:
        """Share of the changed places that were rightly changed; None when none was."""
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float | None:
        """Share of the places to mend that were mended; None when there were none."""
        return _share(self.right, self.right + self.left)


def all_spots(drift: Drift) -> list[Spot]:
    """Every place of a drift where anything may stand."""
    return [*drift.spots, *drift.mixed, *drift.others, *drift.unlabelled]


def sites(drift: Drift, found: Iterable[Change]) -> SiteCount:
    """Counts one drift's places.

    Args:
        drift: what was injected.
        found: what stands at its spots; spots of untouched files may be missing.
    """
    changed = {(change.spot.file, change.spot.start): change.text for change in found if change.text != change.spot.old}
    count = SiteCount()
    for spot in drift.spots:
        text = changed.get((spot.file, spot.start))
        if text is None:
            count.left += drift.expected is Expectation.REPAIR
        elif text == spot.new or text.replace(" ", "") == spot.new:
            count.right += 1
        else:
            count.wrong += 1
            count.left += drift.expected is Expectation.REPAIR
    count.wrong += sum((spot.file, spot.start) in changed for spot in (*drift.mixed, *drift.others))
    count.unlabelled = sum((spot.file, spot.start) in changed for spot in drift.unlabelled)
    return count


def adjusted_rand_index(truth: Mapping[str, str], found: Mapping[str, str]) -> float:
    """How well a clustering agrees with the truth: 1 when it is the same, about 0 when it is chance.

    Hubert and Arabie, "Comparing partitions", 1985.

    Args:
        truth: the cluster of each item.
        found: the cluster that was found for it; items that are not there are each a cluster of their own.
    """
    pairs = Counter((truth[item], found.get(item, f"alone {item}")) for item in truth)
    rows: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for (row, column), count in pairs.items():
        rows[row] += count
        columns[column] += count
    together = sum(comb(count, 2) for count in pairs.values())
    in_rows = sum(comb(count, 2) for count in rows.values())
    in_columns = sum(comb(count, 2) for count in columns.values())
    every = comb(len(truth), 2)
    expected = in_rows * in_columns / every if every else 0.0
    most = (in_rows + in_columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


@dataclass(frozen=True)
class Result:
    """What the tool made of one drift.

    Attributes:
        id: of the drift.
        package: whose tree.
        kind: how it drifted.
        expected: what would have been right.
        history: what git knew.
        sites: counts of its places.
        seen: how many of the places to mend the report lists with a proven receiver, refused ones included.
        listed: how many it lists at all.
        exact: whether every changed byte lies at a place that may change.
        reported: how many causes were reported.
        ranked: the first candidate for the drift's own cause; "" when there is none, None when there is no such cause.
        chosen: what was applied; "" when nothing was.
        answer: what would have been right to choose.
        right_choice: whether something was applied, and only what should stand at each changed place.
        reasons: why places were left alone, by reason.
        broken: how many tests the drift breaks.
        restorable: how many of them a right repair brings back.
        restored: how many of those pass now.
        regressed: node ids that pass in the drifted tree and not in the mended one.
        seconds: wall time of the tool.
        peak_mib: the most memory that the tool and its children held at once.
        error: why there is no result, else "".
    """

    id: str
    package: str
    kind: str
    expected: str
    history: str
    sites: SiteCount
    seen: int = 0
    listed: int = 0
    exact: bool = True
    reported: int = 0
    ranked: str | None = None
    chosen: str = ""
    answer: str = ""
    right_choice: bool = False
    reasons: Mapping[str, int] = field(default_factory=dict)
    broken: int = 0
    restorable: int = 0
    restored: int = 0
    regressed: Sequence[str] = ()
    seconds: float = 0.0
    peak_mib: float = 0.0
    error: str = ""

    @property
    def wrong_choice(self) -> bool:
        """Whether it chose by itself what it should not have chosen.

        Where abstaining is right, another repair is not wrong when it brings back every broken test without harm.
        """
        if not self.chosen:
            return False
        if self.expected == Expectation.REPAIR:
            return not self.right_choice
        return self.expected == Expectation.SILENCE or self.restored < self.broken or bool(self.regressed)


@dataclass(frozen=True)
class Summary:
    """The numbers that the issue asks for, over some results.

    Attributes:
        drifts: how many were injected.
        failed: how many runs gave no result.
        sites: of the drifts that can be repaired, and wrong changes of all.
        seen: share of the places to mend that are listed with proof, refused ones included.
        abstained: how many repairable drifts were left without a choice.
        wrong_choices: how many choices were wrong.
        top1: share of the repairable drifts whose first candidate is right.
        exact: share of the runs that changed anything in which every changed byte was meant.
        restored: share of the restorable tests of repairable drifts that pass now.
        regressions: tests that a repair broke, over all runs.
        right_abstentions: of the drifts without a successor, the share that was left alone.
        false_alarms: of the drifts that break nothing, how many had a cause reported.
        seconds: wall time, over all runs.
        peak_mib: the most memory of any run.
    """

    drifts: int
    failed: int
    sites: SiteCount
    seen: float | None
    abstained: int
    wrong_choices: int
    top1: float | None
    exact: float | None
    restored: float | None
    regressions: int
    right_abstentions: float | None
    false_alarms: int
    seconds: float
    peak_mib: float


def summary(results: Sequence[Result]) -> Summary:
    """Adds results up."""
    done = [result for result in results if not result.error]
    repairable = [result for result in results if result.expected == Expectation.REPAIR]
    hopeless = [result for result in done if result.expected == Expectation.ABSTAIN]
    changing = [result for result in done if result.chosen]
    total = sum((result.sites for result in results), SiteCount())
    return Summary(
        drifts=len(results),
        failed=len(results) - len(done),
        sites=total,
        seen=_share(sum(result.seen for result in repairable), sum(_to_mend(result) for result in repairable)),
        abstained=sum(not result.chosen for result in repairable),
        wrong_choices=sum(result.wrong_choice for result in done),
        top1=_share(sum(result.ranked == result.answer for result in repairable), len(repairable)),
        exact=_share(sum(result.exact for result in changing), len(changing)),
        restored=_share(sum(r.restored for r in repairable), sum(r.restorable for r in repairable)),
        regressions=sum(len(result.regressed) for result in done),
        right_abstentions=_share(sum(not result.chosen for result in hopeless), len(hopeless)),
        false_alarms=sum(result.reported > 0 for result in done if result.expected == Expectation.SILENCE),
        seconds=sum(result.seconds for result in results),
        peak_mib=max((result.peak_mib for result in results), default=0.0),
    )


def _to_mend(result: Result) -> int:
    return result.sites.right + result.sites.left


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

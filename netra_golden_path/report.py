"""What a proof measured and found: values that add up, the table and the JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table
from rich.text import Text

from netra_golden_path.invariants import Finding, Violation

VERSION = 1
PERCENTILES = (50, 95, 99)
EXAMPLES = 3
"""How many findings of one name are shown."""

_LONGEST_US = 600_000_000
_SIGNIFICANT_FIGURES = 3


class Latency:
    """A distribution of durations, kept in microseconds, told in milliseconds."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _LONGEST_US, _SIGNIFICANT_FIGURES)
        self._max_us = 0

    def record(self, seconds: float) -> None:
        """Adds one duration."""
        microseconds = min(max(round(seconds * 1e6), 0), _LONGEST_US)
        self._max_us = max(self._max_us, microseconds)
        self._histogram.record_value(microseconds)

    def add(self, other: Latency) -> None:
        """Adds all durations of another distribution."""
        self._histogram.add(other._histogram)
        self._max_us = max(self._max_us, other._max_us)

    @property
    def count(self) -> int:
        """How many durations there are."""
        return int(self._histogram.get_total_count())

    @property
    def max_ms(self) -> float:
        """The longest duration."""
        return self._max_us / 1000

    def percentile_ms(self, percentile: float) -> float:
        """The duration that `percentile` of a hundred do not exceed, true to three figures; 0 when there is none."""
        if not self.count:
            return 0.0
        value: int = self._histogram.get_value_at_percentile(percentile)
        return min(value, self._max_us) / 1000

    def as_dict(self) -> dict[str, float]:
        """Gives the count, the percentiles and the longest, for JSON."""
        percentiles = {f"p{percentile}": self.percentile_ms(percentile) for percentile in PERCENTILES}
        return {"count": self.count, **percentiles, "max": self.max_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is kept of one journey: how long it took, in seconds, what was done to it, and what was wrong."""

    connect_s: float | None = None
    first_event_s: float | None = None
    journey_s: float | None = None
    drops: int = 0
    losses: int = 0
    resends: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True, kw_only=True)
class FindingGroup:
    """All findings of one name: how many, and the first."""

    count: int = 0
    examples: list[Finding] = field(default_factory=list)

    def add(self, count: int, examples: Iterable[Finding]) -> None:
        """Adds findings, of which `examples` are known."""
        self.count += count
        self.examples = [*self.examples, *examples][:EXAMPLES]


@dataclass(slots=True, kw_only=True)
class Measurements:
    """What a set of journeys showed. Two sets add up to the measurements of both.

    Attributes:
        done: journeys in which nothing was wrong.
        failed: the others.
        drops: connections that were dropped on purpose.
        losses: times that a user found the server gone.
        resends: messages sent again because their acknowledgement had not come.
    """

    done: int = 0
    failed: int = 0
    drops: int = 0
    losses: int = 0
    resends: int = 0
    connect: Latency = field(default_factory=Latency)
    first_event: Latency = field(default_factory=Latency)
    journey: Latency = field(default_factory=Latency)
    findings: dict[str, FindingGroup] = field(default_factory=dict)

    def record(self, outcome: Outcome) -> None:
        """Adds one journey; it is done when nothing was wrong, else failed."""
        if outcome.findings:
            self.failed += 1
        else:
            self.done += 1
        self.drops += outcome.drops
        self.losses += outcome.losses
        self.resends += outcome.resends
        for latency, seconds in (
            (self.connect, outcome.connect_s),
            (self.first_event, outcome.first_event_s),
            (self.journey, outcome.journey_s),
        ):
            if seconds is not None:
                latency.record(seconds)
        self.record_findings(outcome.findings)

    def record_findings(self, findings: Iterable[Finding]) -> None:
        """Adds findings that belong to no journey, or to one that is counted elsewhere."""
        for finding in findings:
            self.findings.setdefault(finding.name, FindingGroup()).add(1, (finding,))

    def add(self, other: Measurements) -> None:
        """Adds all that another set showed."""
        self.done += other.done
        self.failed += other.failed
        self.drops += other.drops
        self.losses += other.losses
        self.resends += other.resends
        self.connect.add(other.connect)
        self.first_event.add(other.first_event)
        self.journey.add(other.journey)
        for name, group in other.findings.items():
            self.findings.setdefault(name, FindingGroup()).add(group.count, group.examples)

    def count(self, name: str) -> int:
        """How many findings of one name there are."""
        group = self.findings.get(name)
        return group.count if group is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finished proof.

    Attributes:
        target: the deployment's address.
        run_id: tells this proof's users from others'.
        seed: what the scenarios were made from.
        users: how many.
        journeys_per_user: how many each was to make.
        ramp_s: over how many seconds the users started.
        preparation_s: how long the preparation took, in seconds.
        duration_s: from the start of the first journey to the end of the last, in seconds.
        measurements: of all journeys.
        kills: how many times the server was killed meanwhile.
        longest_start_s: how long it took at most until it served again, in seconds.
    """

    target: str
    run_id: str
    seed: int
    users: int
    journeys_per_user: int
    ramp_s: float
    preparation_s: float
    duration_s: float
    measurements: Measurements
    kills: int = 0
    longest_start_s: float = 0.0

    @property
    def planned(self) -> int:
        """How many journeys were to be made."""
        return self.users * self.journeys_per_user

    @property
    def success_rate(self) -> float:
        """Of a hundred journeys planned, how many were done; rounded down, so that 100 means all."""
        return self.measurements.done * 10_000 // self.planned / 100

    @property
    def leaks(self) -> int:
        """How many times a user received another's secret."""
        return self.measurements.count(Violation.LEAK)

    @property
    def missing_events(self) -> int:
        """How many of the five events did not come, over all journeys."""
        return self.measurements.count(Violation.MISSING_EVENT)

    @property
    def journeys_per_second(self) -> float:
        """Journeys that were done, over the time they took."""
        return self.measurements.done / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def passed(self) -> bool:
        """Whether every journey was done and nothing at all was wrong, in the preparation neither."""
        return self.measurements.done == self.planned and not self.measurements.findings

    def as_json(self) -> bytes:
        """Writes the report as one JSON object."""
        measured = self.measurements
        return orjson.dumps(
            {
                "version": VERSION,
                "passed": self.passed,
                "target": self.target,
                "run_id": self.run_id,
                "seed": self.seed,
                "users": self.users,
                "journeys_per_user": self.journeys_per_user,
                "ramp_s": self.ramp_s,
                "preparation_s": round(self.preparation_s, 3),
                "duration_s": round(self.duration_s, 3),
                "journeys": {"planned": self.planned, "done": measured.done, "failed": measured.failed},
                "success_rate_percent": self.success_rate,
                "leaks": self.leaks,
                "missing_events": self.missing_events,
                "faults": {
                    "kills": self.kills,
                    "longest_start_s": round(self.longest_start_s, 3),
                    "connections_dropped": measured.drops,
                    "server_found_gone": measured.losses,
                    "messages_sent_again": measured.resends,
                },
                "journeys_per_second": round(self.journeys_per_second, 2),
                "latency_ms": {
                    "connect": measured.connect.as_dict(),
                    "first_event": measured.first_event.as_dict(),
                    "journey": measured.journey.as_dict(),
                },
                "findings": [
                    {
                        "name": name,
                        "count": group.count,
                        "examples": [
                            {"user": finding.user, "journey": finding.journey, "detail": finding.detail}
                            for finding in group.examples
                        ],
                    }
                    for name, group in _by_weight(measured.findings)
                ],
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )

    def show(self, console: Console) -> None:
        """Prints the tables."""
        console.print(f"The golden path against {self.target}", highlight=False, markup=False)
        console.print(self._summary(), self._latencies())
        if self.measurements.findings:
            console.print(self._findings())

    def _summary(self) -> Table:
        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        colour = "green" if self.passed else "red"
        for name, value in (
            ("success rate", Text(f"{self.success_rate:.6g} %", colour)),
            ("journeys done", f"{self.measurements.done} of {self.planned}"),
            ("journeys failed", f"{self.measurements.failed}"),
            ("leaks", Text(f"{self.leaks}", "red" if self.leaks else "green")),
            ("missing events", f"{self.missing_events}"),
            ("users", f"{self.users}"),
            ("journeys per second", f"{self.journeys_per_second:.1f}"),
            ("preparation", f"{self.preparation_s:.1f} s"),
            ("journeys took", f"{self.duration_s:.1f} s"),
            ("seed", f"{self.seed}"),
        ):
            table.add_row(name, value)
        for name, count in (
            ("server killed", self.kills),
            ("server found gone", self.measurements.losses),
            ("connections dropped", self.measurements.drops),
            ("messages sent again", self.measurements.resends),
        ):
            if count:
                table.add_row(name, f"{count}")
        return table

    def _latencies(self) -> Table:
        table = Table()
        table.add_column("milliseconds", style="bold")
        for percentile in PERCENTILES:
            table.add_column(f"p{percentile}", justify="right")
        table.add_column("max", justify="right")
        for name, latency in (
            ("connect", self.measurements.connect),
            ("first event", self.measurements.first_event),
            ("journey", self.measurements.journey),
        ):
            values = [*(latency.percentile_ms(percentile) for percentile in PERCENTILES), latency.max_ms]
            table.add_row(name, *(f"{value:.1f}" if latency.count else "–" for value in values))
        return table

    def _findings(self) -> Table:
        table = Table(show_lines=True)
        table.add_column("finding", style="bold")
        table.add_column("count", justify="right")
        table.add_column("first examples", overflow="fold")
        for name, group in _by_weight(self.measurements.findings):
            examples = "\n".join(
                f"user {finding.user}, journey {finding.journey}: {finding.detail}" for finding in group.examples
            )
            table.add_row(name, str(group.count), Text(examples))
        return table


def _by_weight(findings: dict[str, FindingGroup]) -> list[tuple[str, FindingGroup]]:
    """Leaks first, then the most frequent."""
    return sorted(findings.items(), key=lambda item: (item[0] != Violation.LEAK, -item[1].count, item[0]))

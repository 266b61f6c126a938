"""Fuzz a server of its own: schemathesis over its OpenAPI document, and frames that nobody means to its socket.

    python -m benchmarks.fuzz [--examples 100] [--frames 200000] [--seed 1]

Fails on a 5xx, a failed check, an unhandled exception in the log, a close code that is not the wire's, more than 64 MiB
of new memory, or another user who is not served meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.fuzz.frames import FrameOutcome, fuzz_frames
from benchmarks.fuzz.over_http import fuzz_http
from benchmarks.fuzz.watch import MIB, Watch, watched
from tests.support.person import Person, a_person

LEAST_CASES: Final = 2_000
ALLOWED_BYTES: Final = 64 * MIB
SENDERS: Final = 4
WARM_EXAMPLES: Final = 5
WARM_FRAMES: Final = 5_000


async def _frames(watch: Watch, people: list[Person], count: int, seed: int) -> list[FrameOutcome]:
    share = count // len(people)
    return await asyncio.gather(
        *(fuzz_frames(watch.server, person, share, seed + number) for number, person in enumerate(people))
    )


async def over_http(folder: Path, examples: int, seed: int) -> list[str]:
    """Fuzz the routes; the faults."""
    async with watched(folder) as watch:
        await fuzz_http(watch.server.url, examples=WARM_EXAMPLES, seed=seed + 1)
        watch.warm()
        begun = time.monotonic()
        outcome = await fuzz_http(watch.server.url, examples=examples, seed=seed)
        growth = watch.growth_bytes
        print(
            f"HTTP: {outcome.cases} cases in {time.monotonic() - begun:.0f} s, "
            f"{'every check held' if outcome.passed else 'CHECKS FAILED'}, memory grew by {growth / MIB:.1f} MiB, "
            f"a bystander was served {watch.answers} times"
        )
    faults = [*watch.faults, *watch.read_log()]
    if not outcome.passed:
        faults.append(outcome.told)
    if outcome.cases < LEAST_CASES:
        faults.append(f"expected at least {LEAST_CASES} cases, got {outcome.cases}; raise --examples")
    if growth > ALLOWED_BYTES:
        faults.append(f"memory grew by {growth / MIB:.1f} MiB")
    return faults


async def over_socket(folder: Path, count: int, seed: int) -> list[str]:
    """Fuzz the socket; the faults."""
    async with watched(folder) as watch, a_person(watch.server) as first, a_person(watch.server) as second:
        people = [first, second] * (SENDERS // 2)
        await _frames(watch, people, WARM_FRAMES, seed + 1_000)
        watch.warm()
        begun = time.monotonic()
        outcomes = await _frames(watch, people, count, seed)
        growth = watch.growth_bytes
        answers = sum((outcome.answers for outcome in outcomes), Counter[str]())
        closes = sum((outcome.closes for outcome in outcomes), Counter[int]())
        print(
            f"socket: {sum(outcome.sent for outcome in outcomes)} frames in {time.monotonic() - begun:.0f} s, "
            f"{sum(answers.values())} answers, closes {dict(sorted(closes.items()))}, "
            f"memory grew by {growth / MIB:.1f} MiB, a bystander was served {watch.answers} times"
        )
        print(f"  answers: {dict(answers.most_common())}")
    faults = [*watch.faults, *watch.read_log(), *(fault for outcome in outcomes for fault in outcome.faults[:5])]
    if growth > ALLOWED_BYTES:
        faults.append(f"memory grew by {growth / MIB:.1f} MiB")
    return faults


async def run(options: argparse.Namespace) -> int:
    """Fuzz both; 1 when there is a fault."""
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("http", "socket"):
            (Path(folder) / name).mkdir()
        if options.examples:
            faults += await over_http(Path(folder) / "http", options.examples, options.seed)
        if options.frames:
            faults += await over_socket(Path(folder) / "socket", options.frames, options.seed)
    for fault in faults[:20]:
        print(fault)
    print("no faults" if not faults else f"{len(faults)} faults")
    return int(bool(faults))


def main() -> int:
    """Run it; 1 when there is a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--examples", type=int, default=100, help="the most cases of an operation, or 0 (default 100)")
    parser.add_argument("--frames", type=int, default=200_000, help="to the socket, or 0 (default 200000)")
    parser.add_argument("--seed", type=int, default=1, help="of whatever is random (default 1)")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

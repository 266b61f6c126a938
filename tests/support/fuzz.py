"""Fuzzing for long: `python -m tests.support.fuzz api` and `python -m tests.support.fuzz frames`; see `make fuzz`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.api_fuzz import fuzz_api
from tests.support.frame_fuzz import fuzz_frames
from tests.support.siege import Siege, besieged

WARM_UP: Final = 0.2
"""The part of the work after which the server has all that it needs for itself."""
MOST_GROWTH_MIB: Final = 32.0
"""What a server may still grow by: the allocator keeps some of what was used, and SQLite pages of what was stored."""
SETTINGS: Final = {
    "agents": '{"gate": "tests.support.agents:GateAgent"}',
    "messages_per_minute": "6000",
    "max_connections_per_user": "100",
    "failed_sign_ins_per_minute": "1000000",  # who besieges and the others have one address
    "failed_sign_ins_per_hour": "1000000",
}


async def _api(siege: Siege, examples: int, seed: int) -> None:
    """As nobody, then a little as somebody, and then in full."""
    for as_nobody, most in ((True, examples), (False, max(1, int(examples * WARM_UP))), (False, examples)):
        if not as_nobody and most == examples:
            siege.warm()
        fuzzed = await fuzz_api(siege, examples=most, seed=seed, as_nobody=as_nobody)
        print(f"{'as nobody' if as_nobody else 'signed in'}, {most} examples at most: {fuzzed.cases} cases", flush=True)
        if not fuzzed.is_good:
            siege.faults.append(fuzzed.told)


async def _frames(siege: Siege, frames: int, seed: int) -> None:
    for part in (int(frames * WARM_UP), frames - int(frames * WARM_UP)):
        fuzzed = await fuzz_frames(siege, frames=part, seed=seed + part)
        print(fuzzed, flush=True)
        siege.faults += fuzzed.faults
        if not siege.rss_before:
            siege.warm()


async def _besiege(what: str, size: int, seed: int, settings: Mapping[str, str]) -> bool:
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        async with besieged(Path(folder) / "data", **SETTINGS, **settings) as siege:
            await (_api if what == "api" else _frames)(siege, size, seed)
    if siege.growth_mib > MOST_GROWTH_MIB:
        siege.faults.append(f"the server grew by {siege.growth_mib:.0f} MiB")
    print(f"{siege}; {time.monotonic() - begun:.0f} s")
    return not siege.faults


def main(argv: Sequence[str]) -> int:
    """Fuzz a server; returns 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("api", "frames"))
    parser.add_argument("size", type=int, help="examples for each operation at most, or frames")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url", help="of an empty PostgreSQL database (default: an SQLite file)")
    options = parser.parse_args(argv)
    settings = {} if options.database_url is None else {"database_url": options.database_url}
    return 0 if asyncio.run(_besiege(options.what, options.size, options.seed, settings)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

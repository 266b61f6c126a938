"""What a context costs: to import, to make and to keep. Exits with 1 if a budget is missed.

    python benchmarks/context.py [--json FILE]

Every budget is a ratio or a size, so that it holds on any machine: what is compared runs in the same run, in turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from netra_backend.app.services.user_execution_context import UserExecutionContext  # noqa: E402  # found by the line above

MODULE = UserExecutionContext.__module__
STANDARD_IMPORTS = "import dataclasses, json, uuid, datetime, contextvars, hmac"

IMPORT_TIMER = """
import sys, time
sys.path.insert(0, sys.argv[1])
start = time.perf_counter()
exec(sys.argv[2])
print(time.perf_counter() - start)
"""

NO_METADATA: MappingProxyType[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PlainContext:
    """The same fields in a hand-written dataclass that checks nothing: what a context costs at least."""

    user_id: str
    thread_id: str
    run_id: str
    request_id: str
    websocket_client_id: str | None
    created_at: datetime
    deadline: datetime | None
    agent_context: MappingProxyType[str, Any]
    audit_metadata: MappingProxyType[str, Any]
    operation_depth: int
    parent_request_id: str | None
    db_session: Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One budget and what was seen.

    Attributes:
        name: what was measured.
        seen: the number that the budget limits.
        budget: the largest number allowed.
        unit: of both.
        details: the medians behind it.
    """

    name: str
    seen: float
    budget: float
    unit: str
    details: str

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        return self.seen <= self.budget


def make_plain_context(user_id: str, thread_id: str, run_id: str) -> PlainContext:
    """Make the plain context of a request, as a caller would by hand.

    Args:
        user_id: whose work it is.
        thread_id: its thread.
        run_id: its run.

    Returns:
        The context.
    """
    return PlainContext(
        user_id=user_id,
        thread_id=thread_id,
        run_id=run_id,
        request_id=str(uuid4()),
        websocket_client_id=None,
        created_at=datetime.now(UTC),
        deadline=None,
        agent_context=NO_METADATA,
        audit_metadata=NO_METADATA,
        operation_depth=0,
        parent_request_id=None,
        db_session=None,
    )


def measure_import(rounds: int = 21) -> Measurement:
    """Compare the import of the context with that of the standard library modules it cannot do without.

    Args:
        rounds: pairs of fresh interpreters.

    Returns:
        The ratio of the medians.
    """
    statements = (STANDARD_IMPORTS, f"import {MODULE}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for statement, times in zip(statements, seconds, strict=True):
            command = [sys.executable, "-I", "-S", "-c", IMPORT_TIMER, str(ROOT), statement]
            taken = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if turn > 0:  # The first round writes the .pyc files.
                times.append(taken)
    standard, context = (median(times) for times in seconds)
    details = f"context {context * 1e3:.1f} ms, standard modules {standard * 1e3:.1f} ms, {rounds} pairs"
    return Measurement("import", context / standard, 1.6, "x", details)


def measure_making(rounds: int = 31, batch: int = 4000) -> Measurement:
    """Compare `from_request` with a plain dataclass of the same fields.

    Args:
        rounds: pairs of batches.
        batch: contexts in a batch.

    Returns:
        The ratio of the medians.
    """
    makers: tuple[Callable[[str, str, str], object], ...] = (make_plain_context, UserExecutionContext.from_request)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for make, times in zip(makers, seconds, strict=True):
            start = perf_counter()
            for _ in range(batch):
                make("concurrent_user_0", "thread_0", "run_0")
            times.append((perf_counter() - start) / batch)
    plain, context = (median(times) for times in seconds)
    details = f"context {context * 1e6:.2f} µs, plain dataclass {plain * 1e6:.2f} µs, {rounds} pairs of {batch}"
    return Measurement("from_request", context / plain, 4.0, "x", details)


def measure_keeping(count: int = 20_000) -> Measurement:
    """Measure the memory of contexts with defaults and ids of their own, ids included.

    Args:
        count: contexts kept at once.

    Returns:
        Bytes for each.
    """
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [UserExecutionContext.from_request(f"user_{n}", str(uuid4()), str(uuid4())) for n in range(count)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Measurement("memory", (after - before) / len(kept), 1024, "bytes", f"{count} contexts with UUID ids")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything and print a table.

    Args:
        argv: the arguments after the program's name; those of the process when None.

    Returns:
        0 if every budget is kept, else 1.
    """
    parser = argparse.ArgumentParser(description="Measure what a context costs.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to this file")
    options = parser.parse_args(argv)
    measurements = [measure_import(), measure_making(), measure_keeping()]
    print(f"{'what':<14}{'seen':>10}{'budget':>10}  {'unit':<7}{'kept':<6}details")
    for one in measurements:
        kept = "yes" if one.kept else "NO"
        print(f"{one.name:<14}{one.seen:>10.2f}{one.budget:>10.2f}  {one.unit:<7}{kept:<6}{one.details}")
    if options.json:
        rows = [asdict(one) | {"kept": one.kept} for one in measurements]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(one.kept for one in measurements) else 1


if __name__ == "__main__":
    sys.exit(main())

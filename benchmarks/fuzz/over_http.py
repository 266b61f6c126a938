"""schemathesis over the OpenAPI document of a running server, with all of its checks."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import ROOT

CONFIG = Path(__file__).with_name("schemathesis.toml")
LIMIT_SECONDS = 1_200.0
PHASES = "examples,coverage,fuzzing,stateful"


@dataclass(frozen=True, slots=True)
class HttpOutcome:
    """What schemathesis has found.

    Attributes:
        cases: that were sent.
        passed: whether every check held.
        told: its report.
    """

    cases: int
    passed: bool
    told: str


async def fuzz_http(url: str, *, examples: int, seed: int, phases: str = PHASES) -> HttpOutcome:
    """Send cases and check every answer.

    Args:
        url: of the server.
        examples: the most cases of an operation in a phase.
        seed: of whatever is random.
        phases: of schemathesis, with commas.
    """
    with tempfile.TemporaryDirectory() as folder:  # it keeps what it has found where it runs
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{url}/openapi.json",
            "--checks", "all", "--phases", phases, "--max-examples", str(examples), "--seed", str(seed),
            "--continue-on-failure", "--no-shrink", "--no-color", "--request-timeout", "30",
            cwd=folder, stdout=PIPE, stderr=STDOUT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": folder,
                 "SCHEMATHESIS_HOOKS": "benchmarks.fuzz.hooks", "NETRA_FUZZ_URL": url},
        )  # fmt: skip
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                told = (await process.communicate())[0].decode(errors="replace")
        except TimeoutError:
            process.kill()
            await process.wait()
            return HttpOutcome(0, False, f"schemathesis did not end within {LIMIT_SECONDS:.0f} s")
    cases = sum(int(count) for count in re.findall(r"(\d+) generated", told))
    return HttpOutcome(cases, process.returncode == 0, told)

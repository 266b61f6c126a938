"""Schemathesis over the OpenAPI document of a real server, as two signed-in users and as nobody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support import schemathesis_hooks as hooks
from tests.support.person import Person, a_person
from tests.support.server import ROOT
from tests.support.siege import Siege

CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
_CASES: Final = re.compile(r"Test cases:\s+([\d,]+) generated")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What schemathesis has found.

    Attributes:
        cases: how many requests it made up.
        is_good: whether nothing was wrong.
        told: its own words.
    """

    cases: int
    is_good: bool
    told: str


async def fuzz_api(
    siege: Siege, *, examples: int, seed: int, as_nobody: bool = False, phases: str = "coverage,fuzzing,stateful"
) -> Fuzzed:
    """Ask all that the document describes, by every phase and with every check.

    Args:
        siege: the server.
        examples: how many cases at most for each operation and phase.
        seed: of the cases.
        as_nobody: whether who asks is not signed in.
        phases: how cases are made up, as schemathesis calls it.
    """
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color", "run",
        f"{siege.server.url}/openapi.json", "--phases", phases, "--checks", "all", "--max-examples", str(examples),
        "--seed", str(seed),
    ]  # fmt: skip
    async with a_person(siege.server) as ann, a_person(siege.server) as bob:
        with TemporaryDirectory() as folder:
            if not as_nobody:
                accounts = Path(folder) / "accounts.json"
                accounts.write_text(json.dumps({"auth": [_account("ann", ann), _account("bob", bob)]}))
                command += ["--auth-wfc", str(accounts)]
            about = {hooks.SERVER: siege.server.url, hooks.TOKENS: f"{ann.access_token} {bob.access_token}"}
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,  # it keeps what it has found beside
                env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": hooks.__name__, **about},
                stdout=PIPE,
                stderr=STDOUT,
            )
            told = (await process.communicate())[0].decode(errors="replace")
    found = _CASES.search(told)
    cases = int(found[1].replace(",", "")) if found else 0
    return Fuzzed(cases, is_good=not process.returncode and cases > 0, told=told)


def _account(name: str, person: Person) -> dict[str, object]:
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {person.access_token}"}]}

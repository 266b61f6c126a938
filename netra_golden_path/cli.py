"""The command `netra golden-path`."""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from rich.console import Console

from netra_golden_path.client import Target
from netra_golden_path.deployment import Deployment, DeploymentFailed, admitting, started
from netra_golden_path.faults import UNTRIED_ATTEMPTS, Kills, killing
from netra_golden_path.invariants import ServiceLevels
from netra_golden_path.journey import LIMIT_S
from netra_golden_path.progress import Status, shown
from netra_golden_path.prover import Options, PreparationFailed, draw_seed, prove
from netra_golden_path.report import Report

FILES_PER_USER = 2
SPARE_FILES = 128
SHORTEST_LIFE_S = 1.0
"""Of a server that is killed, in the mean."""
KILLED_LIMIT_S = 2 * LIMIT_S
"""How long a journey may take while its server is killed again and again."""


class ExitCode(IntEnum):
    """How the command ends."""

    PASSED = 0
    FAILED = 1
    COULD_NOT_RUN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command was asked for."""

    target: Target | None
    users: int
    journeys: int
    ramp_s: float | None
    seed: int
    json: Path | None
    database_url: str | None
    drops: int
    kill_every_s: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the words after `netra golden-path`; those of the process when not given.

    Returns:
        An `ExitCode`: 0 when every journey succeeded and nothing leaked, 1 when not, 2 when it could not run.
    """
    try:
        arguments = _parsed(argv)
    except SystemExit as done:  # argparse has said why
        return int(done.code or 0)
    output, messages = Console(), Console(stderr=True)
    try:
        _allow_files(arguments.users)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            report = runner.run(_proven(arguments, messages))
        report.show(output)
        if arguments.json is not None:
            arguments.json.write_bytes(report.as_json())
    except (DeploymentFailed, PreparationFailed, OSError, ValueError) as error:
        _say(messages, f"netra golden-path could not run: {error}")
        return ExitCode.COULD_NOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say(messages, "netra golden-path was interrupted")
        return ExitCode.COULD_NOT_RUN
    return ExitCode.PASSED if report.passed else ExitCode.FAILED


async def _proven(arguments: Arguments, messages: Console) -> Report:
    _end_on_sigterm()
    status = Status()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shown(status, messages))
        deployment: Deployment | None = None
        target = arguments.target
        if target is None:
            status.enter("starting the server", 0)
            deployment = await stack.enter_async_context(started(_settings(arguments)))
            target = Target.of(deployment.url)
        limit_s = LIMIT_S if arguments.kill_every_s is None else KILLED_LIMIT_S
        options = Options(
            target=target,
            users=arguments.users,
            journeys=arguments.journeys,
            ramp_s=arguments.ramp_s,
            seed=arguments.seed,
            levels=ServiceLevels() if arguments.kill_every_s is None else ServiceLevels.none(limit_s),
            limit_s=limit_s,
            drops=arguments.drops,
            outlives_server=arguments.kill_every_s is not None,
        )
        kills = Kills()

        @asynccontextmanager
        async def disturbance() -> AsyncIterator[None]:
            nonlocal kills
            if deployment is None or arguments.kill_every_s is None:
                yield
                return
            async with killing(deployment, arguments.kill_every_s, arguments.seed) as kills:
                yield

        try:
            report = await prove(options, status, disturbance=disturbance)
        except PreparationFailed as failed:
            if deployment is not None and (failure := await deployment.failure()) is not None:
                raise failure from failed
            raise
        if deployment is not None and (failure := await deployment.failure()) is not None:
            _say(messages, str(failure))
        return replace(report, kills=kills.count, longest_start_s=kills.longest_start_s)


def _settings(arguments: Arguments) -> dict[str, str]:
    """Of the server of one's own, as its environment."""
    settings = admitting(arguments.users, arguments.journeys, arguments.drops)
    if arguments.database_url is not None:
        settings["NETRA_DATABASE_URL"] = arguments.database_url
    if arguments.kill_every_s is not None:
        settings |= UNTRIED_ATTEMPTS
    return settings


def _parsed(argv: Sequence[str] | None) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="netra golden-path",
        description="Drives many users at once along the golden path of a deployment and proves that each gets "
        "their own right answer and nobody sees another's data.",
        epilog="Exit code: 0 every journey succeeded and nothing leaked, 1 not so, 2 it could not run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--url",
        type=_target,
        help="the deployment; a server of its own is started when not given. All users register from here: on another "
        "machine its NETRA_REGISTRATIONS_PER_HOUR must allow them (100)",
    )
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="the database of the server of its own, such as postgresql://USER@HOST/NAME; the users stay in it "
        "(a temporary SQLite file)",
    )
    parser.add_argument("--users", type=_count, default=50, metavar="N", help="users at once (%(default)s)")
    parser.add_argument("--journeys", type=_count, default=1, metavar="K", help="journeys per user (%(default)s)")
    parser.add_argument("--ramp", type=_seconds, metavar="S", help="seconds over which users start (N / 50)")
    parser.add_argument(
        "--seed", type=_whole, default=draw_seed(), metavar="X", help="number the usage records are made from (drawn)"
    )
    parser.add_argument(
        "--drops",
        type=_whole_from_0,
        default=0,
        metavar="D",
        help="drop each journey's connection so many times, at places drawn from the seed; users come back and resume, "
        "and the time without a connection does not count for the first event",
    )
    parser.add_argument(
        "--kill-every",
        type=_seconds,
        metavar="S",
        help="kill the server of its own by SIGKILL every S seconds in the mean and start it again; users come back, "
        "and the service levels are not checked",
    )
    parser.add_argument("--json", type=_file, metavar="F", help="file to write the report to, as JSON")
    parsed = parser.parse_args(argv)
    if parsed.url is not None and parsed.database_url is not None:
        parser.error("--database-url is of the server that is started when there is no --url; give one of the two")
    if parsed.url is not None and parsed.kill_every is not None:
        parser.error("--kill-every is for the server that is started when there is no --url; give one of the two")
    if parsed.kill_every is not None and parsed.kill_every < SHORTEST_LIFE_S:
        parser.error(f"--kill-every: expected at least {SHORTEST_LIFE_S:g} s, got {parsed.kill_every:g}")
    return Arguments(
        target=parsed.url,
        users=parsed.users,
        journeys=parsed.journeys,
        ramp_s=parsed.ramp,
        seed=parsed.seed,
        json=parsed.json,
        database_url=parsed.database_url,
        drops=parsed.drops,
        kill_every_s=parsed.kill_every,
    )


def _target(text: str) -> Target:
    try:
        return Target.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _count(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _whole_from_0(text: str) -> int:
    number = _whole(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {number}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 on, got {text!r}")
    return seconds


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in an existing folder, got {text!r}")
    return path


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _end_on_sigterm() -> None:
    """Lets SIGTERM end the proof as Ctrl-C does, so that the server it started is ended as well."""
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def _allow_files(users: int) -> None:
    """Raises this process's own limit on open files as far as it goes.

    Raises:
        OSError: when that is not enough for so many users.
    """
    if sys.platform == "win32":
        return
    import resource

    needed = users * FILES_PER_USER + SPARE_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(f"{users} users need {needed} open files, and {hard} are allowed (ulimit -Hn)")

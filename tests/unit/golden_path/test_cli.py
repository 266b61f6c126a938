"""The command: arguments, exit codes, and what is written where."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import orjson
import pytest

from netra_golden_path import cli
from netra_golden_path.client import Target
from netra_golden_path.deployment import DeploymentFailed
from netra_golden_path.invariants import ServiceLevels
from netra_golden_path.progress import Status
from netra_golden_path.prover import Disturbance, Options, PreparationFailed
from netra_golden_path.report import Measurements, Report

URL = "http://netra.invalid:8000"


class Prover:
    """Stands in for the proof: remembers the options, and ends as it is told."""

    def __init__(self) -> None:
        self.options: Options | None = None
        self.done = 1
        self.error: BaseException | None = None

    async def __call__(self, options: Options, status: Status, *, disturbance: Disturbance) -> Report:
        self.options = options
        async with disturbance():
            pass
        if self.error is not None:
            raise self.error
        return Report(
            target=options.target.base_url,
            run_id="run",
            seed=options.seed,
            users=1,
            journeys_per_user=1,
            ramp_s=0.0,
            preparation_s=0.1,
            duration_s=0.1,
            measurements=Measurements(done=self.done, failed=1 - self.done),
        )


@pytest.fixture
def prover(monkeypatch: pytest.MonkeyPatch) -> Prover:
    """The prover that the command calls."""
    prover = Prover()
    monkeypatch.setattr(cli, "prove", prover)
    return prover


def test_exit_codes_are_those_of_the_design() -> None:
    """0 passed, 1 failed, 2 could not run."""
    assert [(code.name, code.value) for code in cli.ExitCode] == [("PASSED", 0), ("FAILED", 1), ("COULD_NOT_RUN", 2)]


def test_a_proof_that_passed_exits_with_0(prover: Prover, capsys: pytest.CaptureFixture[str]) -> None:
    """Every journey done and nothing leaked is 0, with the table on standard output."""
    assert cli.main(["--url", URL]) == 0
    output, messages = capsys.readouterr()
    assert "100 %" in output
    assert "100 %" not in messages


def test_a_proof_that_failed_exits_with_1(prover: Prover, capsys: pytest.CaptureFixture[str]) -> None:
    """A journey that failed is 1, with the table as well."""
    prover.done = 0
    assert cli.main(["--url", URL]) == 1
    assert "0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PreparationFailed(3, "POST /auth/register was answered with 403: closed"), "user 3 could not be prepared"),
        (DeploymentFailed("the server ended with 1", "Traceback …"), "Traceback …"),
        (ValueError("choose another seed"), "choose another seed"),
        (OSError("no more files"), "no more files"),
        (KeyboardInterrupt(), "interrupted"),
        (asyncio.CancelledError(), "interrupted"),
    ],
)
def test_a_proof_that_could_not_run_exits_with_2(
    prover: Prover, capsys: pytest.CaptureFixture[str], error: BaseException, words: str
) -> None:
    """What keeps the proof from running is told on standard error, without a traceback of ours."""
    prover.error = error
    assert cli.main(["--url", URL]) == 2
    output, messages = capsys.readouterr()
    assert output == ""
    assert words in messages
    assert "File " not in messages


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--users", "0"], "--users: expected at least 1, got 0"),
        (["--users", "many"], "--users: expected a whole number, got 'many'"),
        (["--journeys", "-1"], "--journeys: expected at least 1, got -1"),
        (["--ramp", "-0.5"], "--ramp: expected seconds from 0 on, got '-0.5'"),
        (["--ramp", "nan"], "--ramp: expected seconds from 0 on, got 'nan'"),
        (["--ramp", "slowly"], "--ramp: expected seconds, got 'slowly'"),
        (["--seed", "1.5"], "--seed: expected a whole number, got '1.5'"),
        (["--url", "netra.invalid"], "--url: expected http(s)://host[:port], got 'netra.invalid'"),
        (["--url", "ftp://netra.invalid"], "--url: expected http(s)://host[:port], got 'ftp://netra.invalid'"),
        (["--url", "http://a/b"], "without a path, got 'http://a/b'"),
        (["--url", "http://a:b"], "--url: "),
        (["--json", "no-such-folder/report.json"], "--json: expected a file in an existing folder"),
        (["--json", "."], "--json: expected a file in an existing folder"),
        (["--user", "3"], "unrecognized arguments: --user 3"),
        (["--url", URL, "--database-url", "postgresql://h/n"], "give one of the two"),
        (["--drops", "-1"], "--drops: expected 0 or more, got -1"),
        (["--kill-every", "0.5"], "--kill-every: expected at least 1 s, got 0.5"),
        (["--url", URL, "--kill-every", "5"], "give one of the two"),
        (["staging"], "unrecognized arguments: staging"),
    ],
)
def test_bad_arguments_exit_with_2(
    prover: Prover, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    """An argument that makes no sense is named, with what was expected and what came."""
    assert cli.main(argv) == 2
    assert words in capsys.readouterr().err
    assert prover.options is None


def test_help_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the command, every option and the exit codes."""
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: netra golden-path")
    for option in ("--url", "--database-url", "--users", "--journeys", "--ramp", "--seed", "--json", "Exit code"):
        assert option in text
    for option in ("--drops", "--kill-every"):
        assert option in text


def test_arguments_reach_the_proof(prover: Prover) -> None:
    """What is asked for is what is proven."""
    words = ["--url", "https://netra.invalid/", "--users", "3", "--journeys", "4", "--ramp", "1.5", "--seed", "6"]
    assert cli.main(words) == 0
    assert prover.options is not None
    assert prover.options.target == Target("https://netra.invalid", "wss://netra.invalid/ws")
    assert (prover.options.users, prover.options.journeys) == (3, 4)
    assert (prover.options.ramp_s, prover.options.seed) == (1.5, 6)


def test_without_arguments_there_are_fifty_users_and_a_drawn_seed(prover: Prover) -> None:
    """The defaults are those of the issue; each call draws its own seed."""
    seeds = set()
    for _ in range(2):
        assert cli.main(["--url", URL]) == 0
        assert prover.options is not None
        assert (prover.options.users, prover.options.journeys, prover.options.ramp_s) == (50, 1, None)
        seeds.add(prover.options.seed)
    assert len(seeds) == 2


def test_drops_reach_the_proof_with_the_service_levels_as_they_are(prover: Prover) -> None:
    """Dropped connections are no excuse for a slow server."""
    assert cli.main(["--url", URL, "--drops", "5"]) == 0
    assert prover.options is not None
    assert (prover.options.drops, prover.options.outlives_server) == (5, False)
    assert prover.options.levels == ServiceLevels()


def test_json_is_written_to_the_file(prover: Prover, tmp_path: Path) -> None:
    """The report is written as JSON, when the proof failed, too."""
    file = tmp_path / "report.json"
    for done in (1, 0):
        prover.done = done
        assert cli.main(["--url", URL, "--json", str(file), "--seed", "3"]) == 1 - done
        written = orjson.loads(file.read_bytes())
        assert (written["version"], written["seed"], written["passed"]) == (1, 3, bool(done))


def test_more_users_than_files_are_allowed_cannot_run(
    prover: Prover, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that does not allow enough open files is told before anything is done."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1000))
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert cli.main(["--url", URL, "--users", "1000"]) == 2
    assert "1000 users need 2128 open files, and 1000 are allowed" in capsys.readouterr().err
    assert raised == [(1000, 1000)]
    assert prover.options is None

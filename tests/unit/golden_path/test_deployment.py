"""A server of one's own: started, listened to, and ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from netra_golden_path import deployment
from netra_golden_path.deployment import Deployment, DeploymentFailed, admitting, started

READY = "import os, sys, time\nprint('warming up')\nprint('Netra is serving on http://127.0.0.1:4711', flush=True)\n"
FOREVER = "while True:\n    time.sleep(60)\n"


def python(script: str) -> tuple[str, ...]:
    """A command that stands in for the server; the data folder is its last argument."""
    return (sys.executable, "-c", script)


def is_alive(process_id: int) -> bool:
    """Tells whether a process is there."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def wait_for_the_end(server: Deployment) -> None:
    """Returns when the process of a server that ends by itself is gone."""
    assert server._process is not None
    await server._process.wait()


async def test_the_server_is_there_for_the_block_and_gone_after(tmp_path: Path) -> None:
    """The address is read from the server's line; after the block neither process nor folder is left."""
    note = tmp_path / "note"
    tell = f"import sys\nopen({str(note)!r}, 'w').write(sys.argv[1])\n"
    async with started({}, python(tell + READY + FOREVER)) as server:
        assert server.url == "http://127.0.0.1:4711"
        folder = Path(note.read_text()).parent
        assert folder.is_dir()
        assert is_alive(server.pid)
        assert await server.failure() is None
    assert not is_alive(server.pid)
    assert not folder.exists()


async def test_an_error_in_the_block_ends_the_server() -> None:
    """Whatever happens in the block, the server does not outlive it."""
    pids = []

    async def fail() -> None:
        async with started({}, python(READY + FOREVER)) as server:
            pids.append(server.pid)
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        await fail()
    assert not is_alive(pids[0])


async def test_a_server_that_does_not_want_to_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ignores SIGTERM is killed after the limit."""
    monkeypatch.setattr(deployment, "STOP_LIMIT_S", 0.1)
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    async with started({}, python(stubborn + READY + FOREVER)) as server:
        assert is_alive(server.pid)
    assert not is_alive(server.pid)


async def test_a_killed_server_is_started_again_over_its_data_at_its_address() -> None:
    """The folder stays, the port is asked for, and what both lives said is in the log."""
    script = "import sys\nprint(sys.argv[1:], file=sys.stderr)\n" + READY + FOREVER
    async with started({}, python(script)) as server:
        first = server.pid
        await server.kill()
        assert not is_alive(first)
        failure = await server.failure()
        await server.start()
        assert server.pid != first
        assert await server.failure() is None
    assert failure is not None
    assert failure.reason == "the server ended with -9"
    assert not is_alive(server.pid)


async def test_a_server_that_ends_before_it_is_ready_is_told_with_its_last_words() -> None:
    """The exit code and the end of standard error are in the reason."""
    with pytest.raises(DeploymentFailed, match="ended with 3 before it was ready") as failed:
        async with started({}, python("import sys\nprint('no port left', file=sys.stderr)\nsys.exit(3)")):
            pytest.fail("there is no server")
    assert failed.value.tail == "no port left"
    assert "no port left" in str(failed.value)


async def test_a_server_that_is_not_ready_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is given up."""
    monkeypatch.setattr(deployment, "START_LIMIT_S", 0.2)
    with pytest.raises(DeploymentFailed, match=r"did not start within 0\.2 s"):
        async with started({}, python("import time\n" + FOREVER)):
            pytest.fail("there is no server")


async def test_a_server_that_ends_during_the_block_is_told() -> None:
    """A proof can ask why its server is gone; what the server printed before did not keep it waiting."""
    script = "print('x' * 300_000)\nprint('out of memory', file=sys.stderr)\nsys.exit(9)"
    async with started({}, python(READY + script)) as server:
        await wait_for_the_end(server)
        failure = await server.failure()
        assert failure is not None
        assert (failure.reason, failure.tail) == ("the server ended with 9", "out of memory")


async def test_only_the_given_settings_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own NETRA_ variables stay outside; limits, and where to find the code, go in."""
    monkeypatch.setenv("NETRA_DATABASE_URL", "sqlite:///precious.db")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    names = ("NETRA_DATABASE_URL", "NETRA_MAX_CONNECTIONS", "SOMETHING_ELSE")
    tell = f"print([os.environ.get(name) for name in {names}], file=sys.stderr)\nimport netra_golden_path"
    async with started(admitting(10, 3), python(READY + tell)) as server:
        await wait_for_the_end(server)
        failure = await server.failure()
    assert failure is not None
    assert failure.reason == "the server ended with 0"
    assert failure.tail == "[None, '84', 'kept']"


def test_limits_admit_the_load() -> None:
    """There is room for every user's connection and messages, with some to spare."""
    limits = admitting(1000, 5)
    assert int(limits["NETRA_MAX_CONNECTIONS"]) > 1000
    assert int(limits["NETRA_MAX_CONNECTIONS_PER_USER"]) > 1
    assert int(limits["NETRA_MESSAGES_PER_MINUTE"]) >= 5000
    dropping = admitting(1000, 1, drops=5)
    assert int(dropping["NETRA_MAX_CONNECTIONS"]) > 6000
    assert int(dropping["NETRA_MAX_CONNECTIONS_PER_USER"]) > 6

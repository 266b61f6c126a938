"""Storage that fails: what is refused is told, what was acknowledged is there, and the service goes on by itself or
says how to restore. A full disk is in test_bad_input, PostgreSQL that goes away in test_postgres_outage."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import pytest

from netra_backend.app import commands
from tests.support.database import on_sqlite
from tests.support.nursery import Home, Nursery
from tests.support.person import a_person

pytestmark = pytest.mark.asyncio(loop_scope="module")


@on_sqlite
async def test_a_locked_database_is_waited_for_and_then_told(nursery: Nursery, home: Home) -> None:
    """While another process holds the lock, reads are answered; a message waits, and is taken when the lock goes within
    five seconds, else refused and taken when it comes again; a run that was going on ends in order."""
    server = await nursery.start(home)
    async with a_person(server) as ann, ann.connected() as socket, ann.connected() as opener:
        await socket.send("user_message", text="hold lock", agent="gate")
        held = (await socket.until("tool_executing"))[-1]
        with closing(sqlite3.connect(home.data_dir / "netra.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await opener.send("user_message", text="patient", agent="gate")
            await opener.send("ping")
            history = await ann.http.get(f"/api/threads/{held['thread_id']}/messages")
            assert history.json()["messages"][0]["content"] == "hold lock"
            other.execute("ROLLBACK")
            patient = await opener.until_final()
            assert patient[-1]["data"]["result"]["echo"] == "patient"
            other.execute("BEGIN IMMEDIATE")
            await opener.send("user_message", text="open lock", agent="gate", client_message_id="locked")
            refused = (await opener.until("error"))[-1]
            assert (refused["code"], refused["client_message_id"]) == ("storage_unavailable", "locked")
            assert "locked" in refused["message"]
            assert (await ann.http.get("/health/live")).status_code == 200
            other.execute("ROLLBACK")
        taken = await opener.ask("open lock", agent="gate", client_message_id="locked")
        assert taken[-1]["type"] == "agent_completed"
        ended = await socket.until_final(held["run_id"])
        assert [frame["type"] for frame in ended] == ["tool_completed", "agent_completed"]
        assert [frame["seq"] for frame in ended] == [held["seq"] + 1, held["seq"] + 2]


def _garble_the_header(file: Path) -> None:
    with file.open("r+b") as bytes_:
        bytes_.write(b"no database here")


def _garble_the_middle(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as bytes_:
        bytes_.seek(8192)
        bytes_.write(b"\xa5" * (size - 8192))


def _cut_off_the_end(file: Path) -> None:
    with file.open("r+b") as bytes_:
        bytes_.truncate(file.stat().st_size // 2 // 4096 * 4096)


@on_sqlite
@pytest.mark.parametrize("damage", [_garble_the_header, _garble_the_middle, _cut_off_the_end])
async def test_a_damaged_file_is_not_served(
    damage: Callable[[Path], None],
    nursery: Nursery,
    home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server does not start on a file that is not whole, says so and how to restore, and leaves it as it is; with
    the backup in its place everything is there."""
    server = await nursery.start(home)
    async with a_person(server) as ann:
        async with ann.connected() as socket:
            said = await socket.ask("before", agent="gate")
        server.signal(signal.SIGTERM)
        assert await nursery.ended(server) == 0
        file = home.data_dir / "netra.sqlite3"
        copyfile(file, tmp_path / "backup")
        damage(file)
        damaged = file.read_bytes()
        refused = await nursery.start(home)
        assert (refused.url, await nursery.ended(refused)) == ("", 1)
        assert await asyncio.to_thread(commands.db, ["upgrade", "--data-dir", str(home.data_dir)]) == 1
        told = capsys.readouterr().err
        assert f"the database {file} is damaged (" in told
        assert f"put a backup in its place, without {file}-wal and {file}-shm" in told
        assert file.read_bytes() == damaged
        copyfile(tmp_path / "backup", file)
        for name in ("netra.sqlite3-wal", "netra.sqlite3-shm"):
            (home.data_dir / name).unlink(missing_ok=True)
        again = await nursery.start(home)
        ann.http.base_url = again.url
        thread = await ann.http.get(f"/api/threads/{said[0]['thread_id']}/messages")
        assert [message["content"] for message in thread.json()["messages"]] == ["before", said[-1]["data"]["result"]]


async def test_a_clock_that_is_set_back_loses_nothing(nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """The clock is set back by a minute and then an hour in the middle of a run: sockets and the run go on, an access
    token of the future is refreshed, numbers have no hole, and a killed server takes up what it left."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    home = replace(home, clock=clock)
    server = await nursery.start(home)
    async with a_person(server) as ann:
        async with ann.connected() as socket:
            await socket.send("user_message", text="hold clock", agent="gate")
            held = (await socket.until("tool_executing"))[-1]
            clock.write_text("-60")
            assert (await ann.http.get("/auth/me")).status_code == 200
            clock.write_text("-3600")
            assert (await ann.http.get("/auth/me")).status_code == 401
            renewed = await ann.http.post("/auth/refresh", json={"refresh_token": ann.refresh_token})
            ann.access_token = renewed.json()["access_token"]
            ann.http.headers["Authorization"] = f"Bearer {ann.access_token}"
            assert (await ann.http.get("/auth/me")).status_code == 200
            async with ann.connected() as opener:
                await opener.ask("open clock", agent="gate")
            ended = await socket.until_final(held["run_id"])
            assert [frame["seq"] for frame in ended] == [held["seq"] + 1, held["seq"] + 2]
            more = await socket.ask("more", agent="gate", thread_id=held["thread_id"])
            assert [frame["seq"] for frame in more[1:]] == list(range(ended[-1]["seq"] + 1, more[-1]["seq"] + 1))
            await socket.send("user_message", text=f"hold {tmp_path / 'calls'}", agent="steps")
            cut_off = (await socket.until("tool_executing"))[-1]
        server.signal(signal.SIGKILL)
        await nursery.ended(server)
        ann.server = again = await nursery.start(home)
        ann.http.base_url = again.url
        thread = (await ann.http.get(f"/api/threads/{held['thread_id']}/messages")).json()["messages"]
        assert [message["seq"] for message in thread] == [1, ended[-1]["seq"], more[1]["seq"], more[-1]["seq"]]
        async with ann.connected() as socket:
            await socket.send("resume", thread_id=cut_off["thread_id"], after_seq=cut_off["seq"])
            await socket.send("cancel_run", run_id=cut_off["run_id"])
            final = await socket.receive()
            assert (final["type"], final.get("seq")) == ("run_cancelled", cut_off["seq"] + 1)

"""The routes of threads, where their parts fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from blockbuster import BlockBuster

from netra_backend.app.api.accounts import Accounts
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.services.principal import Principal
from tests.support.attacks import make_actors
from tests.support.in_process import in_process


async def test_a_stream_that_cannot_begin_keeps_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blockbuster: BlockBuster
) -> None:
    """A database that goes away between a stream's place and its first line leaves the place free for the next one."""
    blockbuster.deactivate()  # the users are made in this process, with the key that is read from its file

    async def gone(_accounts: Accounts, _principal: Principal) -> bool:
        raise StorageUnavailableError("gone")

    async with in_process(tmp_path) as server:
        (ann,) = await make_actors(server, ["ann"])
        monkeypatch.setattr(Accounts, "holds", gone)
        headers = {"authorization": f"Bearer {ann.token}"}
        answer = await server.call("GET", f"/api/threads/{ann.thread_ids[0]}/events", headers=headers)
        assert answer.status == 503
        assert server.services.connections.count == 0

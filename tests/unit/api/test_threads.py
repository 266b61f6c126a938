"""The routes of threads, where their parts fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from blockbuster import BlockBuster

from netra_backend.app.api.accounts import Accounts
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.realtime.hub import Subscription
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


async def test_whoever_watches_an_erased_thread_is_told(tmp_path: Path, blockbuster: BlockBuster) -> None:
    """To erase a thread ends what watches it, and nothing that watches another one, of the same user or not."""
    blockbuster.deactivate()
    async with in_process(tmp_path) as server:
        ann, bob = await make_actors(server, ["ann", "bob"], threads=2)
        erased = ann.user_id, ann.thread_ids[0]
        others = [(ann.user_id, ann.thread_ids[1]), (bob.user_id, ann.thread_ids[0]), (bob.user_id, bob.thread_ids[0])]
        watching = [Subscription(key, lambda _text: None) for key in (erased, *others)]
        for subscription in watching:
            server.services.hub.subscribe(subscription)
        headers = {"authorization": f"Bearer {ann.token}"}
        assert (await server.call("DELETE", f"/api/threads/{ann.thread_ids[0]}", headers=headers)).status == 204
        assert [subscription.is_over for subscription in watching] == [True, False, False, False]

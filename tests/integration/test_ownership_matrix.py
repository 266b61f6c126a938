"""The matrix: every route and frame, with every id of somebody else's in every place, over both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Final

import pytest
import pytest_asyncio
from blockbuster import BlockBuster

from netra_backend.app.api.ownership import FRAMES, IDS, ROUTES, IdKind, Key
from tests.support.attacks import SETTINGS, VARIANTS, Assault, attacks_on, besieging, cells_of
from tests.support.database import Backend
from tests.support.in_process import InProcess, in_process

KEYS: Final[list[Key]] = [*ROUTES, *FRAMES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    """A server in this process."""
    folder = tmp_path_factory.mktemp("data")
    async with in_process(folder, **backend.settings(folder), **SETTINGS) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assault(server: InProcess) -> AsyncIterator[Assault]:
    """The victim, with a run that goes on all the time and is watched; afterwards it ends as if nothing had been."""
    async with besieging(server) as assault:
        heard = len(assault.watching.heard)
        yield assault
        assert len(assault.watching.heard) == heard
        await assault.let_go()
        assert assault.watching.heard[-1]["type"] == "agent_completed"
        assert assault.watching.closed is None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key if isinstance(key, str) else " ".join(key))
async def test_nobody_gets_in(assault: Assault, key: Key, blockbuster: BlockBuster) -> None:
    """One's own works; another's id is answered as an unknown one is, after the same statements, and does nothing."""
    blockbuster.deactivate()  # the test itself reads the victim's rows
    assert await assault.on(key) == cells_of(key)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_second_tells_nothing(
    assault: Assault, blockbuster: BlockBuster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers that take a cookie away in two seconds are alike: what differs is the clock's, not the victim's."""
    blockbuster.deactivate()
    clock = count()
    monkeypatch.setattr("http.cookies._getdate", lambda *_: f"Thu, 26 Nov 2026 00:{next(clock) % 60:02}:00 GMT")
    assert await assault.on(("POST", "/auth/logout")) == cells_of(("POST", "/auth/logout"))
    assert next(clock) > 1


@pytest.mark.parametrize("key", IDS, ids=lambda key: key if isinstance(key, str) else " ".join(key))
def test_every_id_is_attacked_in_every_way(key: Key) -> None:
    """No place that the registry declares is left out, nor what is made of an id, nor all of them at once."""
    names = [name for _, _, name in attacks_on(key)]
    for position in IDS[key]:
        made = ["the id", "no number"] if position.kind is IdKind.SEQ else VARIANTS
        assert {f"{position.where} {position.name}: {variant}" for variant in made} <= set(names)
    assert ("all at once" in names) == (len(IDS[key]) > 1)
    assert len(names) == len(set(names))

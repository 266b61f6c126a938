"""What strangers do wrong is not logged as a fault of the server: else anybody could fill its log."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.support.person import a_person
from tests.support.server import serving
from tests.support.siege import FAULTS


async def test_what_strangers_do_wrong_is_not_logged(tmp_path: Path) -> None:
    """Upgrades that are refused, text that is none, and requests that are refused are no errors of the log."""
    log = tmp_path / "log"
    async with serving(tmp_path / "data", log) as server, a_person(server) as ann:
        for headers, status in (({"Authorization": "Bearer x"}, 401), ({"Origin": "https://evil.example"}, 403)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.websocket_url, additional_headers=headers)
            assert refused.value.response.status_code == status
        async with ann.connected() as socket:
            await socket.connection.send(b"\xff", text=True)
            with pytest.raises(ConnectionClosedError):
                await socket.connection.recv()
            assert (await socket.closed())[0] == 1007
            await ann.http.get("/auth/me", headers={"Authorization": "Bearer x"})
            await ann.http.post("/auth/refresh", content=b"\xff", headers={"Content-Type": "application/json"})
        async with httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/auth/me", headers={"Host": "evil.example"})).status_code == 403
    assert [line for line in log.read_text().splitlines() if any(fault in line for fault in FAULTS)] == []

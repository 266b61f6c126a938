"""The reference of the golden-path benchmark: a bare Starlette WebSocket that answers each message with five events.

No accounts, no storage, no agents: what the transport alone can do in the same run. Run it as a program:
`python -m benchmarks.bare_loop`; it prints where it serves, as `netra serve` does.
"""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

EVENTS = tuple(
    f'{{"type":"{type_}","data":{{}}}}'
    for type_ in ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")
)


async def answer(websocket: WebSocket) -> None:
    """Five events for each message."""
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
            for event in EVENTS:
                await websocket.send_text(event)
    except WebSocketDisconnect:
        return


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            print(f"Netra is serving on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def main() -> None:
    """Serve on a free loopback port until terminated."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = Starlette(routes=[WebSocketRoute("/ws", answer)])
    config = uvicorn.Config(
        app, log_level="warning", ws="websockets-sansio", ws_per_message_deflate=False, access_log=False
    )
    _Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

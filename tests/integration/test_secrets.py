"""No secret that a run has used is found in the clear in anything that it has printed, stored or answered."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import create_engine, make_url
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from tests.support.database import Backend, rows, superuser_url
from tests.support.person import Person, a_person
from tests.support.server import ROOT, Server, serving


class Run:
    """One run: the secrets that it has used, and all that has come of it.

    Attributes:
        secrets: by what they are.
        heaps: by where they come from: what was printed, stored and answered.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.heaps: dict[str, bytes] = {}

    def keep(self, what: str, secret: str) -> str:
        """A secret is used."""
        self.secrets[f"{what} {len(self.secrets)}"] = secret
        return secret

    def keep_tokens(self, answer: dict[str, str]) -> None:
        """Tokens are used: the whole of each, and the part that proves something."""
        self.keep("access token", answer["access_token"])
        self.keep("signature of an access token", answer["access_token"].rpartition(".")[2])
        self.keep("secret of a refresh token", answer["refresh_token"].partition(".")[2])

    def add(self, where: str, heap: bytes) -> None:
        """Something has come of it."""
        self.heaps[where] = self.heaps.get(where, b"") + heap

    async def answered(self, response: httpx.Response) -> None:
        """A server has answered: cookies are secrets, and neither other headers nor an error may hold any."""
        for name, value in response.cookies.items():
            self.keep(f"cookie {name}", value)
        headers = [f"{name}: {value}" for name, value in response.headers.multi_items() if name != "set-cookie"]
        self.add("headers", "\n".join(headers).encode())
        if response.is_error:
            self.add("errors", await response.aread())

    def found(self) -> list[str]:
        """Which secrets are where."""
        return [
            f"{what} in {where}, near {heap[max(0, heap.index(form) - 80) : heap.index(form)]!r}"
            for what, secret in self.secrets.items()
            for where, heap in self.heaps.items()
            for form in {secret.encode(), quote(secret, safe="").encode(), base64.b64encode(secret.encode())}
            if form in heap
        ]


@pytest.mark.parametrize("form", ["{}", "a%20{}", "x{}y"])
def test_a_secret_is_found(form: str) -> None:
    """What the test below looks for is found as it is and inside of other things, quoted and in base64, too."""
    run = Run()
    secret = run.keep("password", "a+b/c==")
    for spelled in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
        run.heaps = {"log": form.format(spelled).encode()}
        assert len(run.found()) == 1
    run.heaps = {"log": b"a+b/c="}
    assert run.found() == []


@pytest.mark.timeout(120)
async def test_no_secret_is_printed_stored_or_answered(backend: Backend, tmp_path: Path) -> None:
    """Passwords, tokens, cookies, keys and the database's password are nowhere but where they must be."""
    data, log = tmp_path / "data", tmp_path / "log"
    run = Run()
    url = backend.settings(data).get("database_url")
    if url is not None:
        run.keep("password of the database", str(make_url(url).password))
    settings = {
        "log_level": "DEBUG",
        "secret_key": run.keep("signing key", secrets.token_urlsafe(48)),
        "metrics_token": run.keep("metrics token", secrets.token_urlsafe(24)),
        "loop_alarm": "PT0.05S",
        **backend.settings(data),
    }
    async with serving(data, log, **settings) as server, a_person(server) as ann:
        ann.http.event_hooks["response"].append(run.answered)
        await _use_http(run, ann)
        await _use_sockets(run, server, ann)
        run.add("what is stored", await asyncio.to_thread(_stored, backend, data))
        copy = str(tmp_path / "copy.sqlite3")
        run.add("`netra db`", await _netra(data, (settings, "db export", ann.email), (settings, "db backup", copy)))
    assert server.process.stdout is not None
    run.add("standard output", await server.process.stdout.read())
    run.add("standard error", await asyncio.to_thread(log.read_bytes))
    run.add("what is stored", await asyncio.to_thread(_stored, backend, data))
    if backend.name == "sqlite":  # what they say does not depend on the database that there is
        await _use_commands_wrongly(run, settings, data)
        assert run.heaps["`netra`"].count(b"netra serve: ") == 7
    for heap in ("errors", "headers", "export", "what is stored", "standard error", "`netra db`"):
        assert run.heaps[heap]
    assert ann.user_id.encode() in run.heaps["what is stored"]
    assert ann.email.encode() in run.heaps["`netra db`"]
    assert run.found() == []


async def _use_http(run: Run, ann: Person) -> None:
    """Everything about signing in, right and wrong, and requests that carry secrets where they do not belong."""
    http = ann.http
    run.keep("password", ann.password)
    run.keep_tokens({"access_token": ann.access_token, "refresh_token": ann.refresh_token})
    wrong = run.keep("wrong password", secrets.token_urlsafe(12))
    right = {"username": ann.email, "password": ann.password}
    for form in ({"username": ann.email, "password": wrong}, {"username": "nobody@x.invalid", "password": wrong}):
        assert (await http.post("/auth/login", data=form)).status_code == 401
    for body in (
        {"email": "bad", "password": wrong},
        {"email": "a@x.invalid", "password": wrong * 20},
        {"email": "a@x.invalid", "password": [wrong]},
        {"email": "a@x.invalid", "password": wrong, "refresh_token": ann.refresh_token},
        {"email": ann.email, "password": wrong},
    ):
        assert (await http.post("/auth/register", json=body)).is_error
    for content in (f'{{"email": "a@x.invalid", "password": "{wrong}"'.encode(), f'"{wrong}'.encode() + b'\xff"'):
        for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            for path in ("/auth/register", "/auth/login"):
                answer = await http.post(path, content=content, headers={"Content-Type": media_type})
                assert answer.status_code == 422
    await http.post("/auth/login", data={"password": wrong})
    await http.post(f"/auth/login?password={wrong}", data=right)
    await http.get(f"/auth/me?token={ann.access_token}", headers={"Authorization": ""})
    for header in (f"Basic {ann.access_token}", f"Bearer {ann.access_token}x", f"Bearer {ann.refresh_token}"):
        assert (await http.get("/auth/me", headers={"Authorization": header})).status_code == 401
    await http.get("/metrics", headers={"Authorization": f"Bearer {ann.access_token}"})
    await http.post("/auth/session", data=right, headers={"Origin": ann.server.url})

    answer = (await http.post("/auth/refresh", json={"refresh_token": ann.refresh_token})).json()
    run.keep_tokens(answer)
    for refresh_token in (f"{answer['refresh_token']}x", ann.refresh_token):  # the last one was spent: the session ends
        assert (await http.post("/auth/refresh", json={"refresh_token": refresh_token})).status_code == 401
    await http.post("/auth/refresh", json={"token": answer["refresh_token"]})
    await ann.sign_in()
    run.keep_tokens({"access_token": ann.access_token, "refresh_token": ann.refresh_token})

    new = run.keep("new password", secrets.token_urlsafe(12))
    for body in (
        {"current_password": wrong, "new_password": new},
        {"current_password": ann.password, "new_password": new[:5]},
        {"current_password": ann.password, "new_password": new, "old": ann.password},
    ):
        assert (await http.post("/auth/password", json=body)).is_error
    change = {"current_password": ann.password, "new_password": new}
    assert (await http.post("/auth/password", json=change)).status_code == 204
    ann.password = new
    await ann.sign_in()
    run.keep_tokens({"access_token": ann.access_token, "refresh_token": ann.refresh_token})
    run.add("export", (await http.get("/auth/me/export")).content)


async def _use_sockets(run: Run, server: Server, ann: Person) -> None:
    """Runs that end well and badly, and tokens in frames, whole and bent."""
    async with ann.connected() as socket:
        await socket.ask("hello", agent="gate")
        await socket.ask("hello", agent="faulty")
        for fields in (
            {"type": "authenticate", "token": [ann.access_token]},
            {"type": "authenticate", "token": ann.access_token, "password": ann.password},
            {"type": "authenticate", "token": ann.access_token * 20},
            {"type": "ping", "token": ann.access_token},
        ):
            await socket.connection.send(json.dumps(fields))
            run.add("errors", json.dumps(await socket.expect("error")).encode())
        await socket.connection.send(f'{{"type":"authenticate","token":"{ann.access_token}"')
        run.add("errors", json.dumps(await socket.expect("error")).encode())
        await socket.send("authenticate", token=ann.access_token)
        await socket.expect("auth_success")
        await socket.send("authenticate", token=f"{ann.access_token}x")
        run.add("errors", (await socket.closed())[1].encode())
    for headers, query in (
        ({"Authorization": f"Bearer {ann.access_token}x"}, ""),
        ({"Authorization": f"Basic {ann.access_token}"}, ""),
        ({}, f"?token={ann.access_token}"),
        ({"Sec-WebSocket-Protocol": f"bearer, {ann.access_token}"}, ""),
    ):
        with suppress(WebSocketException):
            try:
                async with connect(f"{server.websocket_url}{query}", additional_headers=headers) as connection:
                    await connection.send(json.dumps({"type": "authenticate", "token": ann.refresh_token}))
                    await connection.recv()
            except InvalidStatus as refused:
                run.add("errors", bytes(refused.response.body or b""))


async def _use_commands_wrongly(run: Run, settings: dict[str, str], data: Path) -> None:
    """Commands whose settings make no sense, or whose database is not there."""
    password = run.keep("password of a database", secrets.token_urlsafe(9))
    away = {"database_url": f"postgresql://netra:{password}@127.0.0.1:1/netra"}
    wrongs = (
        {"database_url": f"mysql://netra:{password}@127.0.0.1:1/netra"},
        {"database_url": f"postgresql://netra:{password}@127.0.0.1:port/netra"},
        {"database_url": f"postgresql:///netra:{password}@127.0.0.1:1/netra"},
        {"database_url": f"postgresql://netra@127.0.0.1:1/netra?password={password}"},
        {"secret_key": run.keep("short key", secrets.token_urlsafe(9))},
        {"host": "0.0.0.0"},  # noqa: S104  it refuses to serve there
    )
    serves = [({**settings, "port": "0", **wrong}, "serve") for wrong in (away, *wrongs)]
    run.add("`netra`", await _netra(data, ({**settings, **away}, "db upgrade"), *serves))


COMMANDS = """
import json, os, sys
from netra_cli import main
for environment, words in json.load(sys.stdin):
    before = dict(os.environ)
    os.environ.update(environment)
    main(words)
    os.environ.clear()
    os.environ.update(before)
"""


async def _netra(data: Path, *commands: tuple[Any, ...]) -> bytes:
    """What `netra` commands print, one after another in a process of theirs: each is its settings and its words."""
    told = []
    for settings, words, *more in commands:
        environment = {f"NETRA_{name.upper()}": value for name, value in settings.items()}
        told.append((environment, [*words.split(), *more, "--data-dir", str(data)]))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMANDS, stdin=PIPE, stdout=PIPE, stderr=STDOUT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    return (await process.communicate(json.dumps(told).encode()))[0]


def _stored(backend: Backend, data: Path) -> bytes:
    """All that is in the data folder, and every row of the database."""
    files = b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())
    if backend.name == "sqlite":
        return files
    engine = create_engine(superuser_url(backend.url(data)))
    try:
        with engine.begin() as connection:
            return files + json.dumps(rows(connection), default=_shown).encode()
    finally:
        engine.dispose()


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) or hasattr(value, "_mapping") else str(value)

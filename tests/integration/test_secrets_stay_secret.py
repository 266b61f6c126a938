"""Everything that a full run prints and stores, searched for every secret that it used."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.database import Backend, rows, superuser_url
from tests.support.person import Person, Socket, a_person, http_client
from tests.support.server import ROOT, Server, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEW_PASSWORD = "an entirely other password"
MISTYPED = "mistyped-but-nearly-right"


class Secrets:
    """The secrets of a run, and what was said and stored in it."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.said: dict[str, str] = {}

    def learn(self, **known: str) -> None:
        """Remember secrets by what they are."""
        self.known.update({f"{name} {len(self.known)}": value for name, value in known.items()})

    def found(self, stored: dict[str, bytes]) -> list[str]:
        """Which secret is where."""
        texts = {name: text.encode() for name, text in self.said.items()} | stored
        return [
            f"{secret} in {place}"
            for place, text in texts.items()
            for secret, value in self.known.items()
            for form in _forms(value)
            if form in text
        ]


def _forms(value: str) -> Iterator[bytes]:
    plain = value.encode()
    yield plain
    yield json.dumps(value)[1:-1].encode()
    yield plain.hex().encode()
    yield base64.b64encode(plain).rstrip(b"=")


def _learn_tokens(kept: Secrets, person: Person) -> None:
    _, secret, code = person.refresh_token.split(".")
    kept.learn(access_token=person.access_token, refresh_secret=secret, refresh_code=code, password=person.password)
    kept.learn(signature=person.access_token.rpartition(".")[2])


async def _live(server: Server, kept: Secrets, metrics_token: str) -> None:
    """Do whatever takes, shows or refuses a secret."""
    async with a_person(server) as ann, http_client(server) as stranger:
        _learn_tokens(kept, ann)

        async def refused(*call: str, **options: Any) -> None:
            answer = await stranger.request(*call, **options)
            assert answer.status_code >= 400, answer.text
            kept.said[f"{len(kept.said)} {' '.join(call)}"] = answer.text + str(answer.headers)

        bearer = {"Authorization": f"Bearer {ann.access_token}"}
        wrong = {"username": ann.email, "password": MISTYPED}
        kept.learn(mistyped=MISTYPED, new_password=NEW_PASSWORD)
        await refused("POST", "/auth/login", data=wrong)
        await refused("POST", "/auth/login", data={"username": ann.password, "password": ann.password})
        await refused("POST", "/auth/register", json={"email": ann.password, "password": ann.password})
        await refused("POST", "/auth/register", json={"email": ann.email, "password": ann.password})
        await refused("POST", "/auth/register", content=json.dumps({"password": ann.password})[:-1], headers=bearer)
        await refused("POST", "/auth/register", json={"email": ann.email, "password": [ann.password]})
        await refused("POST", "/auth/refresh", json={"refresh_token": f"{ann.refresh_token}x"})
        await refused("POST", "/auth/refresh", json={"refresh_token": [ann.refresh_token]})
        await refused("GET", f"/auth/me?access_token={ann.access_token}")
        await refused("GET", "/auth/me", headers={"Authorization": f"Basic {ann.access_token}"})
        await refused("GET", "/auth/me", headers={"Authorization": f"Bearer {ann.access_token[:-2]}"})
        await refused("GET", "/auth/me", headers={"Cookie": f"netra-session={ann.access_token}"})
        await refused("GET", f"/api/threads/{ann.access_token}", headers=bearer)
        await refused("GET", f"/api/threads?cursor={ann.access_token}", headers=bearer)
        await refused(
            "POST", "/auth/password", json={"current_password": MISTYPED, "new_password": "x"}, headers=bearer
        )
        await refused(
            "POST", "/auth/password", json={"current_password": MISTYPED, "new_password": NEW_PASSWORD}, headers=bearer
        )
        await refused("GET", "/metrics", headers={"Authorization": f"Bearer {metrics_token}x"})
        numbers = await stranger.get("/metrics", headers={"Authorization": f"Bearer {metrics_token}"})
        kept.said["metrics"] = numbers.raise_for_status().text

        page = await stranger.post(
            "/auth/session", data=wrong | {"password": ann.password}, headers={"Origin": server.url}
        )
        cookie, csrf = stranger.cookies["netra-session"], page.raise_for_status().json()["csrf_token"]
        kept.learn(cookie=cookie, csrf=csrf)
        await refused("POST", "/api/threads", json={}, headers={"Origin": server.url, "X-Netra-CSRF": f"{csrf}x"})
        with pytest.raises(InvalidStatus) as denied:
            await connect(server.websocket_url, additional_headers={"Cookie": f"netra-session={cookie}"})
        kept.said["upgrade"] = str(denied.value.response.body)

        async with connect(server.websocket_url) as connection:
            socket = Socket(connection)
            await socket.send("authenticate", token=f"{ann.access_token}x")
            kept.said["close"] = str(await socket.closed())
        async with ann.connected() as socket:
            for frame in (
                {"type": "authenticate", "token": [ann.access_token]},
                {"type": "authenticate", "token": ann.access_token, "password": ann.password},
                {"type": ann.access_token},
                {"type": "resume", "thread_id": ann.access_token, "after_seq": 0},
                {"type": "user_message", "text": "fail", "agent": "faulty"},
            ):
                await socket.connection.send(json.dumps(frame))
            frames = [*await socket.until("message_accepted"), *await socket.until_final()]
            # A frame's error repeats the first characters of what came in the wrong place; whose it was has sent it.
            kept.said["frames"] = json.dumps([frame for frame in frames if frame.get("code") != "unknown_frame_type"])
        kept.said["export"] = (await ann.http.get("/auth/me/export")).text

        spent = {"refresh_token": ann.refresh_token}
        renewed = (await ann.http.post("/auth/refresh", json=spent)).json()
        await refused("POST", "/auth/refresh", json=spent)
        kept.learn(access_token=renewed["access_token"], refresh_token=renewed["refresh_token"])
        await ann.sign_in()
        _learn_tokens(kept, ann)
        change = {"current_password": ann.password, "new_password": NEW_PASSWORD}
        (await ann.http.post("/auth/password", json=change)).raise_for_status()


def _commands(settings: dict[str, str], data_dir: Path) -> str:
    """What the commands print that open the database, and one that cannot."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {f"NETRA_{name.upper()}": value for name, value in settings.items()}
    broken, unreachable = dict(environment), dict(environment)
    if "database_url" in settings:
        broken["NETRA_DATABASE_URL"] = settings["database_url"].replace("postgresql://", "postgresql:///")
        url = make_url(settings["database_url"])
        elsewhere = url.set(port=1, password=None).update_query_dict({"password": url.password or ""})
        unreachable["NETRA_DATABASE_URL"] = elsewhere.render_as_string(hide_password=False)
    printed = ""
    for given, words in (
        (environment, ["db", "upgrade"]),
        (environment, ["db", "backup", str(data_dir / "copy")]),
        (environment, ["db", "export", "nobody@example.org"]),
        (environment, ["keys", "list"]),
        (broken, ["db", "upgrade"]),
        (broken, ["db", "backup", str(data_dir / "other")]),
        (unreachable, ["db", "export", "nobody@example.org"]),
        (broken | {"NETRA_SECRET_KEY": "too short"}, ["serve", "--host", "0.0.0.0"]),  # noqa: S104 it is refused
    ):
        command = [sys.executable, "-m", "netra_cli", *words]
        if words[0] != "serve":
            command += ["--data-dir", str(data_dir)]
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
        printed += done.stdout + done.stderr
    return printed


async def test_no_secret_is_printed_or_stored(backend: Backend, tmp_path: Path) -> None:
    """Passwords, tokens, codes, keys and the database's password are in no log, file, row, export, answer or output."""
    data_dir, log = tmp_path / "data", tmp_path / "log"
    kept = Secrets()
    metrics_token, key, old_key = (secrets.token_urlsafe(36) for _ in range(3))
    settings = dict(backend.settings(data_dir))
    kept.learn(metrics_token=metrics_token, key=key, old_key=old_key)
    if "database_url" in settings:
        kept.learn(database_password=make_url(settings["database_url"]).password or "")
    given = settings | {"secret_key": key, "old_secret_keys": old_key, "metrics_token": metrics_token}
    async with serving(data_dir, log=str(log), log_level="DEBUG", **given) as server:
        await _live(server, kept, metrics_token)
    kept.said["commands"] = _commands(given, data_dir)
    stored = {path.name: path.read_bytes() for path in (log, *data_dir.iterdir())}
    if "database_url" in settings:
        engine = create_engine(superuser_url(settings["database_url"]))
        with engine.begin() as connection:
            stored["rows"] = repr(rows(connection)).encode()
        engine.dispose()
    assert "SCRAM" not in kept.said["commands"]
    assert len(stored["log"]) > 1_000
    assert "the server failed" not in stored["log"].decode()
    assert len(kept.known) > 15
    assert all(len(value) >= 15 for value in kept.known.values())
    assert kept.found(stored) == []


async def test_what_is_stored_is_its_owners_only(backend: Backend, tmp_path: Path) -> None:
    """Every file of the data folder has mode 0600 and every folder 0700, whatever the umask, while it is served."""
    data_dir = tmp_path / "data"
    before = os.umask(0)
    try:
        async with serving(data_dir, **backend.settings(data_dir)) as server, a_person(server) as ann:
            await ann.http.post("/api/threads", json={})
            modes = {
                str(path): (path.is_dir(), stat.S_IMODE(path.stat().st_mode))
                for path in (data_dir, *data_dir.rglob("*"))
            }
    finally:
        os.umask(before)
    assert len(modes) >= 2
    assert {mode for is_folder, mode in modes.values() if is_folder} == {0o700}
    assert {mode for is_folder, mode in modes.values() if not is_folder} == {0o600}

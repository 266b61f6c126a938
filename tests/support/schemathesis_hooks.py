"""What schemathesis cannot know of the API; loaded by it, in its own process."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from csv import DictReader
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.generation import GenerationMode

from tests.support.usage_records import csv_of

SERVER: Final = "NETRA_FUZZED_SERVER"
"""Names the server's address in the environment."""
TOKENS: Final = "NETRA_FUZZED_TOKENS"
"""Names the access tokens of those who ask, with a space between them."""
ENDS_THE_SIGN_IN: Final = frozenset(
    {
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout-everywhere"),
        ("POST", "/auth/password"),
        ("DELETE", "/auth/me"),
    }
)


def _json_lines_of(count: int) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in DictReader(csv_of(count).splitlines()))


_counts = st.integers(1, 5)
schemathesis.openapi.media_type("text/csv", _counts.map(csv_of).map(str.encode))
schemathesis.openapi.media_type("application/x-ndjson", _counts.map(_json_lines_of))


@schemathesis.hook
def map_case(_context: HookContext, case: Case[Any]) -> Case[Any]:
    """Leave out a cursor that was drawn as a good one: only those that the server has given out are."""
    is_good = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_good and case.query:
        case.query.pop("cursor", None)
    return case


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Let nobody wait for ever, and let what ends a sign-in be asked by somebody who is there for that only."""
    if case.operation.path == "/api/threads/{thread_id}/events":
        _let_it_end(case)
    if (case.method.upper(), case.operation.path) == ("POST", "/auth/session"):
        case.headers["Origin"] = os.environ[SERVER]  # as the page's
    authorization = str(case.headers.get("Authorization", ""))
    is_signed_in = authorization.removeprefix("Bearer ") in os.environ[TOKENS].split()
    if is_signed_in and (case.method.upper(), case.operation.path) in ENDS_THE_SIGN_IN:
        case.headers["Authorization"] = f"Bearer {_somebody()}"


def _let_it_end(case: Case[Any]) -> None:
    """Say something in a thread that is to be watched: schemathesis leaves a stream after so many events only."""
    thread = f"/api/threads/{quote(str(case.path_parameters['thread_id']), safe='')}"
    with _client(case.headers.get("Authorization")) as http:
        found = http.get(thread)
        if found.status_code == HTTPStatus.OK:
            http.post(f"{thread}/messages", json={"text": "hello", "agent": "gate"}).raise_for_status()
            with suppress(KeyError, ValueError):
                case.headers["last-event-id"] = str(min(int(case.headers["last-event-id"]), found.json()["last_seq"]))


def _somebody() -> str:
    account = {"email": f"{secrets.token_hex(6)}@users.netra.invalid", "password": secrets.token_urlsafe(12)}
    with _client() as http:
        http.post("/auth/register", json=account).raise_for_status()
        form = {"username": account["email"], "password": account["password"]}
        token: str = http.post("/auth/login", data=form).raise_for_status().json()["access_token"]
    return token


def _client(authorization: str | None = None) -> httpx.Client:
    headers = {"Authorization": authorization} if authorization else {}
    return httpx.Client(base_url=os.environ[SERVER], timeout=60, headers=headers)

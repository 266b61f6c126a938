"""Accounts: what of an attempt counts against who guesses, and what overtakes what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from netra_backend.app.api.accounts import Accounts, EmailTakenError, InvalidCredentialsError
from netra_backend.app.api.client_address import Client
from netra_backend.app.auth.passwords import Passwords, TooManyPasswordsError
from netra_backend.app.auth.throttle import TooManyAttemptsError, TooManyRegistrationsError
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.served_app import Served, started

EMAIL = "ann@example.org"
PASSWORD = "correct horse"
HERE = Client("192.0.2.1", is_direct_loopback=False)
ATTEMPTS = 3


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server on which three attempts an hour may fail at one account, and at which ann has registered."""
    async with started(tmp_path, failed_sign_ins_per_hour=ATTEMPTS) as served:
        await served.services.accounts.register(EMAIL, PASSWORD, HERE)
        yield served


@pytest.fixture
def accounts(served: Served) -> Accounts:
    """Its accounts."""
    return served.services.accounts


async def _context(accounts: Accounts) -> UserExecutionContext:
    signed_in = await accounts.sign_in(EMAIL, PASSWORD, HERE)
    user_id = (await accounts.authenticate(signed_in.access_token)).user_id
    return UserExecutionContext.from_websocket_request(user_id, operation="change_password")


async def _attempt(accounts: Accounts, context: UserExecutionContext, way: str) -> None:
    match way:
        case "register":
            await accounts.register(EMAIL, PASSWORD, HERE)
        case "sign_in":
            await accounts.sign_in(EMAIL, PASSWORD, HERE)
        case "change_password":
            await accounts.change_password(context, PASSWORD, PASSWORD, HERE)


async def test_who_registers_is_who_signs_in(accounts: Accounts) -> None:
    """The id that registering gives is the one that the account's tokens prove."""
    user_id, _ = await accounts.register("bob@example.org", PASSWORD, HERE)
    signed_in = await accounts.sign_in("bob@example.org", PASSWORD, HERE)
    assert (await accounts.authenticate(signed_in.access_token)).user_id == user_id


async def test_a_burst_of_guesses_is_bounded(accounts: Accounts) -> None:
    """Of guesses at one account that come at once, from many addresses, only as many are tried as may fail."""
    clients = [Client(f"198.51.100.{number}", is_direct_loopback=False) for number in range(9)]
    guesses = [accounts.sign_in(EMAIL, "wrong horse", client) for client in clients]
    outcomes = [type(each) for each in await asyncio.gather(*guesses, return_exceptions=True)]
    assert outcomes.count(InvalidCredentialsError) == ATTEMPTS
    assert outcomes.count(TooManyAttemptsError) == 9 - ATTEMPTS


async def test_a_password_that_is_right_costs_nothing(accounts: Accounts) -> None:
    """Neither signing in nor changing the password uses up what may fail."""
    context = await _context(accounts)
    for _ in range(2 * ATTEMPTS):
        await accounts.change_password(context, PASSWORD, PASSWORD, HERE)
        await accounts.sign_in(EMAIL, PASSWORD, HERE)


@pytest.mark.parametrize("way", ["register", "sign_in", "change_password"])
@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_what_tells_nothing_costs_nothing(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, way: str, is_cancelled: bool
) -> None:
    """An attempt that finds no place to hash, or that is cancelled before it has ended, is given back."""
    context = await _context(accounts)
    begun = asyncio.Event()

    async def compute(*_: object) -> None:
        begun.set()
        if is_cancelled:
            await asyncio.Event().wait()
        raise TooManyPasswordsError

    with monkeypatch.context() as patch:
        patch.setattr(Passwords, "_compute", compute)
        for _ in range(2 * ATTEMPTS):
            begun.clear()
            attempt = asyncio.create_task(_attempt(accounts, context, way))
            attempt.add_done_callback(lambda _: begun.set())  # one that is refused never begins
            await begun.wait()
            if is_cancelled:
                attempt.cancel()
            with pytest.raises(asyncio.CancelledError if is_cancelled else TooManyPasswordsError):
                await attempt
    await accounts.sign_in(EMAIL, PASSWORD, HERE)


async def test_a_taken_email_costs_an_attempt(accounts: Accounts) -> None:
    """Whoever tries to register a taken e-mail is slowed as who guesses its password."""
    for _ in range(ATTEMPTS):
        with pytest.raises(EmailTakenError):
            await accounts.register(EMAIL, PASSWORD, HERE)
    with pytest.raises(TooManyAttemptsError):
        await accounts.register(EMAIL, PASSWORD, HERE)


async def test_an_address_makes_only_so_many_accounts(tmp_path: Path) -> None:
    """Of accounts made at once from one address as many are made as may be; others, and this machine, go on."""
    async with started(tmp_path, registrations_per_hour=ATTEMPTS) as served:
        accounts = served.services.accounts

        async def made(client: Client, *names: str) -> list[type]:
            registering = (accounts.register(f"{name}@example.org", PASSWORD, client) for name in names)
            return [type(each) for each in await asyncio.gather(*registering, return_exceptions=True)]

        assert await made(HERE, "ann", "bob") == [tuple, tuple]
        assert await made(HERE, "ann") == [EmailTakenError]  # made nothing, so it costs none
        outcomes = await made(HERE, *"abcdef")
        assert (outcomes.count(tuple), outcomes.count(TooManyRegistrationsError)) == (ATTEMPTS - 2, 8 - ATTEMPTS)
        assert await made(Client("192.0.2.2", is_direct_loopback=False), "carl") == [tuple]
        assert await made(Client("127.0.0.1", is_direct_loopback=True), *"uvwxyz") == [tuple] * 6


async def test_of_two_changes_of_a_password_one_holds(accounts: Accounts) -> None:
    """Of changes that are under way at once, all with the right password, one is made; the others are refused."""
    context = await _context(accounts)
    new = [f"new password {number}" for number in range(ATTEMPTS)]
    changes = [accounts.change_password(context, PASSWORD, each, HERE) for each in new]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(each, InvalidCredentialsError) for each in outcomes) == ATTEMPTS - 1
    await accounts.sign_in(EMAIL, new[outcomes.index(None)], HERE)


@pytest.mark.parametrize("path", ["/auth/login", "/auth/session"])
async def test_names_that_can_be_nobodys_are_not_remembered(served: Served, path: str) -> None:
    """However many names are made up that no account can have, the throttle keeps one account for all of them."""
    url = "http://localhost:8000"
    transport = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, base_url=url, headers={"Origin": url}) as http:
        names = [f"{number}{'x' * 10_000}@example.org" for number in range(ATTEMPTS)]
        answers = [await http.post(path, data={"username": name, "password": "?"}) for name in [*names, "nobody"]]
    assert [answer.status_code for answer in answers] == [401] * ATTEMPTS + [429]

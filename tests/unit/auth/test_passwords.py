"""Passwords: hashed well, off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import extract_parameters
from pwdlib.hashers.argon2 import Argon2Hasher

from netra_backend.app.auth.passwords import Passwords, TooManyPasswordsError

HASH_OF_NOTHING_WE_KNOW = "$2b$12$abcdefghijklmnopqrstuuJ1l1l1l1l1l1l1l1l1l1l1l1l1l1l1l"


HERE = "127.0.0.1"


def two_at_once(max_waiting: int = 100, of_an_address: int = 100) -> Passwords:
    """Two hashes at once."""
    return Passwords(2, max_waiting=max_waiting, max_waiting_per_address=of_an_address)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Two at once."""
    pool = two_at_once()
    yield pool
    pool.close()


async def test_a_password_is_known_again(passwords: Passwords) -> None:
    """Only the password that was hashed is right, to the last character, in any script."""
    for password in ("correct horse", "пароль-密码-🔑", "x" * 128, "with\0nul", " spaces "):
        kept = await passwords.hash(password, HERE)
        assert await passwords.verify(password, kept, HERE)
        for other in (password + "x", password[:-1], password.swapcase() + "!", ""):
            assert not await passwords.verify(other, kept, HERE)


async def test_a_hash_tells_nothing(passwords: Passwords) -> None:
    """Equal passwords have different hashes, Argon2id with at least OWASP's parameters, and the text is not in them."""
    first, second = await asyncio.gather(passwords.hash("correct horse", HERE), passwords.hash("correct horse", HERE))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct" not in first


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    """Without an account every password is wrong, the one that its stand-in was made of, too."""
    for password in ("", "correct horse", "nobody has this account"):
        assert not await passwords.verify(password, None, HERE)


async def test_an_unknown_account_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusing an unknown account computes one hash, as costly as a known one's, so that time does not tell."""
    passwords = two_at_once()
    kept = await passwords.hash("correct horse", HERE)
    hashes: list[str | bytes] = []
    verify = Argon2Hasher.verify

    def counted(hasher: Argon2Hasher, password: str | bytes, hashed: str | bytes) -> bool:
        hashes.append(hashed)
        return verify(hasher, password, hashed)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    assert not await passwords.verify("wrong horse", kept, HERE)
    assert not await passwords.verify("wrong horse", None, HERE)
    passwords.close()
    known, unknown = (extract_parameters(str(each)) for each in hashes)
    assert known == unknown


@pytest.mark.parametrize(
    "kept", ["", "not a hash", HASH_OF_NOTHING_WE_KNOW, "$argon2id$v=19$m=19456,t=2,p=1$!!!$???", "$argon2id$"]
)
async def test_a_hash_that_cannot_be_read_knows_no_password(passwords: Passwords, kept: str) -> None:
    """What was kept by something else, or damaged, verifies nothing, and fails nothing."""
    assert not await passwords.verify("correct horse", kept, HERE)


@pytest.mark.parametrize("has_account", [True, False])
async def test_what_utf8_cannot_spell_is_no_password(passwords: Passwords, has_account: bool) -> None:
    """Half of a pair of UTF-16, which a form of another charset can bring, is wrong and fails nothing."""
    kept = await passwords.hash("correct horse", HERE) if has_account else None
    assert not await passwords.verify("\ud800", kept, HERE)


async def test_the_event_loop_goes_on_meanwhile(passwords: Passwords) -> None:
    """Hashing leaves the loop free for everybody else."""
    hashing = asyncio.ensure_future(passwords.hash("correct horse", HERE))
    turns = 0
    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20


async def test_a_bounded_number_is_computed_at_once() -> None:
    """Many sign-ins at once wait for each other instead of taking 19 MiB each."""
    # Threads that earlier tests left may end meanwhile, so the new ones are told by themselves, not by their number.
    others = set(threading.enumerate())
    passwords = two_at_once()
    hashing = [asyncio.ensure_future(passwords.hash(f"password {number}", HERE)) for number in range(6)]
    most = 0
    while not all(each.done() for each in hashing):
        most = max(most, len(set(threading.enumerate()) - others))
        await asyncio.sleep(0)
    passwords.close()
    assert 1 <= most <= 2


async def test_a_sign_in_that_is_given_up_takes_nothing_from_the_others(passwords: Passwords) -> None:
    """A caller that is cancelled while it waits leaves the pool working."""
    given_up = [asyncio.ensure_future(passwords.hash("x", HERE)) for _ in range(4)]
    await asyncio.sleep(0)
    for each in given_up:
        each.cancel()
    assert await passwords.verify("correct horse", await passwords.hash("correct horse", HERE), HERE)


async def test_only_so_many_wait() -> None:
    """Beyond the limit, of all and of one address, a password is refused at once with when to come back."""
    passwords = two_at_once(max_waiting=3, of_an_address=2)
    mine = [asyncio.ensure_future(passwords.hash("x", "192.0.2.1")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyPasswordsError) as caught:
        await passwords.hash("x", "192.0.2.1")
    assert (caught.value.code, caught.value.retry_after) == ("busy", 2.0)
    other = asyncio.ensure_future(passwords.hash("x", "192.0.2.2"))
    await asyncio.sleep(0)
    with pytest.raises(TooManyPasswordsError):
        await passwords.verify("x", None, "192.0.2.3")
    await asyncio.gather(*mine, other)
    await passwords.hash("x", "192.0.2.1")
    passwords.close()


async def test_a_caller_that_leaves_does_not_free_its_place_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled callers cannot fill the threads beyond the limit: a place is free when its thread is."""
    go_on = threading.Event()
    verify = Argon2Hasher.verify

    def held(hasher: Argon2Hasher, password: str | bytes, hashed: str | bytes) -> bool:
        assert go_on.wait(20)
        return verify(hasher, password, hashed)

    monkeypatch.setattr(Argon2Hasher, "verify", held)
    passwords = two_at_once(max_waiting=1, of_an_address=1)
    leaving = asyncio.ensure_future(passwords.verify("x", None, HERE))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    with pytest.raises(TooManyPasswordsError):
        await passwords.verify("x", None, HERE)
    go_on.set()
    async with asyncio.timeout(20):
        while True:
            try:
                await passwords.verify("x", None, HERE)
                break
            except TooManyPasswordsError:
                await asyncio.sleep(0)
    passwords.close()

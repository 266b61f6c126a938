"""Passwords: hashed well, off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import extract_parameters
from pwdlib.hashers.argon2 import Argon2Hasher

from netra_backend.app.auth.passwords import Passwords

HASH_OF_NOTHING_WE_KNOW = "$2b$12$abcdefghijklmnopqrstuuJ1l1l1l1l1l1l1l1l1l1l1l1l1l1l1l"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Two at once."""
    pool = Passwords(2)
    yield pool
    pool.close()


async def test_a_password_is_known_again(passwords: Passwords) -> None:
    """Only the password that was hashed is right, to the last character, in any script."""
    for password in ("correct horse", "пароль-密码-🔑", "x" * 128, "with\0nul", " spaces "):
        kept = await passwords.hash(password)
        assert await passwords.verify(password, kept)
        for other in (password + "x", password[:-1], password.swapcase() + "!", ""):
            assert not await passwords.verify(other, kept)


async def test_a_hash_tells_nothing(passwords: Passwords) -> None:
    """Equal passwords have different hashes, Argon2id with at least OWASP's parameters, and the text is not in them."""
    first, second = await asyncio.gather(passwords.hash("correct horse"), passwords.hash("correct horse"))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct" not in first


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    """Without an account every password is wrong, the one that its stand-in was made of, too."""
    for password in ("", "correct horse", "nobody has this account"):
        assert not await passwords.verify(password, None)


async def test_an_unknown_account_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusing an unknown account computes one hash, as costly as a known one's, so that time does not tell."""
    passwords = Passwords(2)
    kept = await passwords.hash("correct horse")
    hashes: list[str | bytes] = []
    verify = Argon2Hasher.verify

    def counted(hasher: Argon2Hasher, password: str | bytes, hashed: str | bytes) -> bool:
        hashes.append(hashed)
        return verify(hasher, password, hashed)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    assert not await passwords.verify("wrong horse", kept)
    assert not await passwords.verify("wrong horse", None)
    passwords.close()
    known, unknown = (extract_parameters(str(each)) for each in hashes)
    assert known == unknown


@pytest.mark.parametrize(
    "kept", ["", "not a hash", HASH_OF_NOTHING_WE_KNOW, "$argon2id$v=19$m=19456,t=2,p=1$!!!$???", "$argon2id$"]
)
async def test_a_hash_that_cannot_be_read_knows_no_password(passwords: Passwords, kept: str) -> None:
    """What was kept by something else, or damaged, verifies nothing, and fails nothing."""
    assert not await passwords.verify("correct horse", kept)


async def test_the_event_loop_goes_on_meanwhile(passwords: Passwords) -> None:
    """Hashing leaves the loop free for everybody else."""
    hashing = asyncio.ensure_future(passwords.hash("correct horse"))
    turns = 0
    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20


async def test_a_bounded_number_is_computed_at_once() -> None:
    """Many sign-ins at once wait for each other instead of taking 19 MiB each."""
    # Threads that earlier tests left may end meanwhile, so the new ones are told by themselves, not by their number.
    others = set(threading.enumerate())
    passwords = Passwords(2)
    hashing = [asyncio.ensure_future(passwords.hash(f"password {number}")) for number in range(6)]
    most = 0
    while not all(each.done() for each in hashing):
        most = max(most, len(set(threading.enumerate()) - others))
        await asyncio.sleep(0)
    passwords.close()
    assert 1 <= most <= 2


async def test_a_sign_in_that_is_given_up_takes_nothing_from_the_others(passwords: Passwords) -> None:
    """A caller that is cancelled while it waits leaves the pool working."""
    given_up = [asyncio.ensure_future(passwords.hash("x")) for _ in range(4)]
    await asyncio.sleep(0)
    for each in given_up:
        each.cancel()
    assert await passwords.verify("correct horse", await passwords.hash("correct horse"))

"""Passwords: hashed by Argon2id, off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from netra_backend.app.services.refusals import LimitExceededError

from .places import Places

T = TypeVar("T")

MIN_CHARACTERS: Final = 8
MAX_CHARACTERS: Final = 128

# OWASP's Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes and one lane at the least.
_HASHER: Final = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1),))
_NOBODY: Final = _HASHER.hash("nobody has this account")


class TooManyPasswordsError(LimitExceededError):
    """Raised when as many passwords as may wait to be hashed."""

    code = "busy"

    def __init__(self, message: str = "the server has many passwords to check; try again in 2 s") -> None:
        super().__init__(message, retry_after=2.0)


class Passwords:
    """Hashes and verifies.

    Args:
        threads: how many hashes are computed at once; each takes 19 MiB and some 20 ms of a core.
        max_waiting: hashes that may be under way or wait.
        max_waiting_per_address: of them, those that one address has asked for.
    """

    def __init__(self, threads: int, *, max_waiting: int, max_waiting_per_address: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="netra-password")
        self._places = Places(max_waiting, max_waiting_per_address, TooManyPasswordsError)

    async def hash(self, password: str, address: str) -> str:
        """The hash to keep of a password; raises TooManyPasswordsError.

        Args:
            password: as given.
            address: of the client.
        """
        return await self._compute(address, _HASHER.hash, password)

    async def verify(self, password: str, password_hash: str | None, address: str) -> bool:
        """Whether a password is the one that was hashed; raises TooManyPasswordsError.

        Args:
            password: as given at sign-in.
            password_hash: as kept; None when there is no such account, which costs the same time and is False.
            address: of the client.
        """
        right = await self._compute(address, _verify, password, password_hash or _NOBODY)
        return right and password_hash is not None

    async def _compute(self, address: str, work: Callable[..., T], *arguments: str) -> T:
        place = self._places.take(address)
        computed = self._executor.submit(work, *arguments)
        # A caller that is cancelled does not end the thread's work: the place is taken until that has ended.
        loop = asyncio.get_running_loop()
        computed.add_done_callback(lambda _: _call_soon(loop, place.give_back))
        return await asyncio.wrap_future(computed)

    def close(self) -> None:
        """Let the threads go."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody counts any more
        loop.call_soon_threadsafe(callback)


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _HASHER.verify(password, password_hash)
    except (UnknownHashError, UnicodeEncodeError):  # no password that was kept has what UTF-8 cannot spell
        return False

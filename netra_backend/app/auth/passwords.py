"""Passwords: hashed by Argon2id, off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

MIN_CHARACTERS: Final = 8
MAX_CHARACTERS: Final = 128

# OWASP's Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes and one lane at the least.
_HASHER: Final = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1),))
_NOBODY: Final = _HASHER.hash("nobody has this account")


class Passwords:
    """Hashes and verifies.

    Args:
        threads: how many hashes are computed at once; each takes 19 MiB and some 20 ms of a core.
    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="netra-password")

    async def hash(self, password: str) -> str:
        """The hash to keep of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _HASHER.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether a password is the one that was hashed.

        Args:
            password: as given at sign-in.
            password_hash: as kept; None when there is no such account, which costs the same time and is False.
        """
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._executor, _verify, password, password_hash or _NOBODY)
        return right and password_hash is not None

    def close(self) -> None:
        """Let the threads go."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _HASHER.verify(password, password_hash)
    except UnknownHashError:
        return False

"""The keys that sign: the newest signs, older ones still verify until they are removed."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 48
MAX_KEYS: Final = 8
KEY_FILE: Final = "secret.key"
"""In the data folder: the keys, newest first, each of 48 bytes, with nothing between them."""


class KeyRing:
    """One or more keys.

    Args:
        keys: the newest first, each at least 32 bytes.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.newest = key_id(keys[0])

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids (`kid`) of the keys, the newest first."""
        return tuple(self._keys)

    def get(self, kid: object) -> bytes | None:
        """The key of an id; None when there is none, or no more."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def sign(self, purpose: str, text: str) -> str:
        """A code that proves that this server has written a text for a purpose (HMAC, RFC 2104)."""
        return _mac(self._keys[self.newest], purpose, text)

    def signed(self, purpose: str, text: str, code: str) -> bool:
        """Whether one of the keys has signed a text for a purpose."""
        return any(hmac.compare_digest(_mac(key, purpose, text), code) for key in self._keys.values())


def key_id(key: bytes) -> str:
    """What a key is called in tokens (`kid`); it tells nothing of the key."""
    return hashlib.sha256(b"netra kid\0" + key).hexdigest()[:16]


def _mac(key: bytes, purpose: str, text: str) -> str:
    digest = hmac.digest(key, f"netra {purpose}\0{text}".encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")


def load_or_make_keys(path: Path) -> KeyRing:
    """The keys in a file, which is made with mode 0600 and one key when there is none.

    Args:
        path: of the file; its folder exists.

    Raises:
        ValueError: the file holds something else, or others may read it.
    """
    if not path.exists():
        _write(path, secrets.token_bytes(KEY_BYTES), replaces=False)
    return KeyRing(_read(path))


def rotate(path: Path) -> KeyRing:
    """Put a new key before those of a file.

    Args:
        path: of the file.

    Returns:
        The keys as they are now in the file; a server takes them at its next start.

    Raises:
        ValueError: the file is not there, holds something else, or holds as many keys as it may.
    """
    keys = _read(path)
    if len(keys) >= MAX_KEYS:
        raise ValueError(f"{path} holds {len(keys)} keys already; remove the old ones first: netra keys retire")
    keys.insert(0, secrets.token_bytes(KEY_BYTES))
    _write(path, b"".join(keys), replaces=True)
    return KeyRing(keys)


def retire(path: Path) -> KeyRing:
    """Remove all keys of a file but the newest; what the others have signed is worth nothing any more.

    Args:
        path: of the file.

    Returns:
        The key that is left; a server takes it at its next start.

    Raises:
        ValueError: the file is not there, or holds something else.
    """
    newest = _read(path)[0]
    _write(path, newest, replaces=True)
    return KeyRing([newest])


def read_keys(path: Path) -> KeyRing:
    """The keys of a file; raises ValueError as `rotate` does."""
    return KeyRing(_read(path))


def _read(path: Path) -> list[bytes]:
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a file of keys, got none; a server makes it at its first start") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(
            f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}), expected 0600; who could read it can sign "
            f"for anybody: chmod 600 {path}, and if somebody may have read it, netra keys rotate and netra keys retire"
        )
    if not content or len(content) % KEY_BYTES or len(content) > MAX_KEYS * KEY_BYTES:
        raise ValueError(
            f"{path} holds {len(content)} bytes, expected keys of {KEY_BYTES}; delete it, and a new one is made: "
            "everybody must sign in again"
        )
    return [content[at : at + KEY_BYTES] for at in range(0, len(content), KEY_BYTES)]


def _write(path: Path, content: bytes, *, replaces: bool) -> None:
    """Write under another name, then give it its own: nobody ever reads a part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            os.replace(temporary, path)
        else:
            with suppress(FileExistsError):  # another start was faster: its key counts
                os.link(temporary, path)
    finally:
        with suppress(FileNotFoundError):  # it has its own name
            os.unlink(temporary)

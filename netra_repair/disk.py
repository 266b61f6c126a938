"""Files replaced whole and durably: a reader, and a machine that loses power, sees the old bytes or the new ones."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

_SECOND = 1_000_000_000


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that is not there yet, and waits for the disk.

    Args:
        path: where; its folder has to be synced by the caller.
        data: the content.

    Raises:
        OSError: when it exists, or the disk refuses; a part of it may be there then.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def stage(real: Path, data: bytes, temporary: Path, *, durable: bool) -> None:
    """Writes what is to replace a file beside it, with the file's own mode, owner and extended attributes.

    Args:
        real: the file, not a link to it.
        data: the content to come.
        temporary: where to write, in the same folder; `os.replace(temporary, real)` does the rest.
        durable: whether to wait for the disk.

    Raises:
        OSError: when the disk refuses or the owner cannot be kept; a part of the temporary file may be there then.
    """
    model = os.stat(real)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_all(handle, data)
        made = os.fstat(handle)
        if (made.st_uid, made.st_gid) != (model.st_uid, model.st_gid):
            os.fchown(handle, model.st_uid, model.st_gid)
        os.fchmod(handle, stat.S_IMODE(model.st_mode))
        _copy_attributes(real, handle)
        # Python takes a .pyc for fresh when the source's size and the whole second of its time are the same. A name of
        # equal length that comes and goes within one second would leave the code of the other one running.
        if made.st_mtime_ns // _SECOND <= model.st_mtime_ns // _SECOND:
            os.utime(handle, ns=(made.st_atime_ns, model.st_mtime_ns + _SECOND))
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_writable(path: Path) -> bool:
    """Whether a file is meant to be written by this user; root, who may write anything, respects the mode too."""
    return bool(os.stat(path).st_mode & 0o222) and os.access(path, os.W_OK)


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _copy_attributes(real: Path, handle: int) -> None:
    # Access lists and labels come along where the system lets them; what it keeps to itself it has set already.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            for name in os.listxattr(real):
                with contextlib.suppress(OSError):
                    os.setxattr(handle, name, os.getxattr(real, name))

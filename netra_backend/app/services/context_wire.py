"""The signed text that carries a context through a queue: `netra-context.1.<payload>.<signature>`.

The payload is JSON in base64url, the signature HMAC-SHA256 (RFC 2104) in base64url, both without padding (RFC 4648 §5).
The signature is compared as text, so that no second spelling of the same bytes passes.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from .context_errors import InvalidContextError
from .frozen_mapping import told_type
from .utc_times import parsed_utc, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "netra-context.1."
"""What every text of this version begins with; signed with the rest."""

MIN_KEY_LENGTH: Final = 32
"""Bytes of the shortest key, the length of the signature."""


def seal(values: Mapping[str, Any], key: bytes, expires_at: datetime) -> str:
    """Write and sign a text.

    Args:
        values: the context as `to_dict()` gives it.
        key: the secret that writer and reader share, at least 32 bytes.
        expires_at: when the text stops being accepted, aware UTC.

    Returns:
        ASCII text. It is signed, not encrypted: whoever holds it can read it.

    Raises:
        InvalidContextError: if the key is not of that kind.
    """
    _check_key(key)
    payload = json.dumps({"expires_at": expires_at.isoformat(), "context": values}, separators=(",", ":"))
    body = PREFIX + _encoded(payload.encode())
    return f"{body}.{_signature(body, key)}"


def unseal(text: str, key: bytes) -> Mapping[str, Any]:
    """Check a text and read it.

    Args:
        text: what `seal` wrote.
        key: the secret it was signed with.

    Returns:
        The context's values as `from_dict()` takes them, not checked yet.

    Raises:
        InvalidContextError: if the key is not of that kind, or the text is of another type or version, was not signed
            with this key, was changed, or has expired.
    """
    _check_key(key)
    if not isinstance(text, str):
        raise InvalidContextError("wire", "text made by to_wire()", told_type(text))
    if not text.startswith(PREFIX) or not text.isascii():
        raise InvalidContextError("wire", f"text that begins with {PREFIX!r}", "another text")
    body, _, signature = text.rpartition(".")
    if not hmac.compare_digest(signature, _signature(body, key)):
        raise InvalidContextError("wire", "a text signed with this key", "one that was not, or was changed")
    try:
        payload = json.loads(_decoded(body.removeprefix(PREFIX)))
        values, expires_at = payload["context"], parsed_utc("expires_at", payload["expires_at"])
    except InvalidContextError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError):
        raise InvalidContextError("wire", "a payload made by to_wire()", "another one") from None
    if expires_at <= utc_now():
        raise InvalidContextError("wire", "a text that is still valid", f"one that expired at {expires_at.isoformat()}")
    return values  # type: ignore[no-any-return]  # from_dict() checks


def _check_key(key: object) -> None:
    if not isinstance(key, bytes):
        raise InvalidContextError("key", f"at least {MIN_KEY_LENGTH} bytes", told_type(key))
    if len(key) < MIN_KEY_LENGTH:
        raise InvalidContextError("key", f"at least {MIN_KEY_LENGTH} bytes", f"{len(key)} bytes")


def _signature(body: str, key: bytes) -> str:
    return _encoded(hmac.digest(key, body.encode(), "sha256"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

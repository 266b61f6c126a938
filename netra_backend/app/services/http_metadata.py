"""What an audit keeps of an HTTP request: who called and what, never a query string or a credential."""

from __future__ import annotations

from typing import Any, Final

MAX_VALUE_LENGTH: Final = 512
"""Characters kept of each value; all of them are the caller's to choose."""

KEPT_HEADERS: Final = {
    "user-agent": "user_agent",
    "x-request-id": "incoming_request_id",
    "traceparent": "traceparent",
}
"""The headers that are kept, by lower-case name, and the names they are kept under."""


def describe_request(request: Any) -> dict[str, str]:
    """Gather the audit metadata of a request.

    Args:
        request: a Starlette or FastAPI request, or anything with some of `client.host`, `method`, `url.path` and
            `headers`.

    Returns:
        Those of `client_address`, `http_method`, `http_path`, `user_agent`, `incoming_request_id` and `traceparent`
        that the request has, cut to 512 characters, what is not printable replaced by U+FFFD.
    """
    found: dict[str, object] = {
        "client_address": getattr(getattr(request, "client", None), "host", None),
        "http_method": getattr(request, "method", None),
        "http_path": getattr(getattr(request, "url", None), "path", None),
    }
    headers = getattr(request, "headers", None)
    for name, value in headers.items() if headers is not None else ():
        kept = KEPT_HEADERS.get(name.lower())
        if kept is not None:
            found.setdefault(kept, value)
    return {name: _harmless(value) for name, value in found.items() if isinstance(value, str) and value}


def _harmless(text: str) -> str:
    text = text[:MAX_VALUE_LENGTH]
    return text if text.isprintable() else "".join([char if char.isprintable() else "\ufffd" for char in text])

"""Which client a request is of: proxies are believed only where they are trusted."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from netra_backend.app.api.client_address import Client, ClientAddress

TRUSTED = [ip_network(network) for network in ("127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48")]


async def client_of(peer: str | None, **headers: str | list[str]) -> tuple[Client, Any]:
    """Whom the app is told a request is of, and what ASGI says of the client."""
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: object) -> Message:
        raise AssertionError

    raw = [
        (name.replace("_", "-").encode(), each.encode())
        for name, values in headers.items()
        for each in ([values] if isinstance(values, str) else values)
    ]
    client = None if peer is None else (peer, 4711)
    scope: Scope = {"type": "http", "client": client, "headers": raw}
    await ClientAddress(inner, trusted=TRUSTED)(scope, nothing, nothing)  # type: ignore[arg-type]  # never called
    return seen[0]["state"]["client"], seen[0]["client"]


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("192.0.2.1", {}, "192.0.2.1"),
        ("192.0.2.1", {"x_forwarded_for": "198.51.100.9"}, "192.0.2.1"),
        ("192.0.2.1", {"forwarded": "for=198.51.100.9"}, "192.0.2.1"),
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", {"x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        ("127.0.0.1", {"x_forwarded_for": "203.0.113.66, 198.51.100.9"}, "198.51.100.9"),
        ("127.0.0.1", {"x_forwarded_for": "203.0.113.66, 198.51.100.9, 10.1.2.3"}, "198.51.100.9"),
        ("127.0.0.1", {"x_forwarded_for": ["203.0.113.66", "198.51.100.9", "10.1.2.3"]}, "198.51.100.9"),
        ("127.0.0.1", {"x_forwarded_for": "10.1.2.3, 10.1.2.4"}, "127.0.0.1"),
        ("127.0.0.1", {"x_forwarded_for": "nonsense"}, "127.0.0.1"),
        ("127.0.0.1", {"x_forwarded_for": "198.51.100.9, nonsense"}, "127.0.0.1"),
        ("127.0.0.1", {"x_forwarded_for": "198.51.100.9:4711"}, "198.51.100.9"),
        ("127.0.0.1", {"x_forwarded_for": "2001:db8::7"}, "2001:db8::7"),
        ("127.0.0.1", {"x_forwarded_for": "[2001:db8::7]:4711"}, "2001:db8::7"),
        ("127.0.0.1", {"x_forwarded_for": "::ffff:198.51.100.9"}, "198.51.100.9"),
        ("127.0.0.1", {"forwarded": "for=198.51.100.9;proto=https;by=10.0.0.1"}, "198.51.100.9"),
        ("127.0.0.1", {"forwarded": 'proto=https; For="[2001:db8::7]:4711"'}, "2001:db8::7"),
        ("127.0.0.1", {"forwarded": "for=203.0.113.66, for=198.51.100.9, for=10.2.3.4"}, "198.51.100.9"),
        ("127.0.0.1", {"forwarded": "for=203.0.113.66, for=_hidden"}, "127.0.0.1"),
        ("127.0.0.1", {"forwarded": "for=203.0.113.66, proto=https"}, "127.0.0.1"),
        ("127.0.0.1", {"forwarded": "for=198.51.100.9", "x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        ("127.0.0.1", {"forwarded": "for=203.0.113.66", "x_forwarded_for": "198.51.100.9"}, "127.0.0.1"),
        ("2001:db8:ffff::1", {"x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        ("::ffff:127.0.0.1", {"x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        (None, {"x_forwarded_for": "198.51.100.9"}, "unknown"),
        ("/run/netra.sock", {"x_forwarded_for": "198.51.100.9"}, "/run/netra.sock"),
    ],
)
async def test_the_rightmost_address_that_is_no_proxys_counts(
    peer: str | None, headers: dict[str, Any], address: str
) -> None:
    """What a client writes itself never counts: not from an untrusted peer, and not left of what a proxy has added."""
    client, asgi = await client_of(peer, **headers)
    assert client.address == address
    if peer is not None:
        assert asgi[0] == address


@pytest.mark.parametrize(
    ("peer", "headers", "is_direct"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, False),
        ("127.0.0.1", {"forwarded": ""}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"x_real_ip": "127.0.0.1"}, False),
        ("127.0.0.1", {"x_forwarded_proto": "https"}, False),
        ("127.0.0.1", {"x_forwarded_host": "localhost"}, False),
        ("10.1.2.3", {"x_forwarded_for": "127.0.0.1"}, False),
        ("192.0.2.1", {}, False),
        (None, {}, False),
    ],
)
async def test_loopback_is_direct_or_nothing(peer: str | None, headers: dict[str, Any], is_direct: bool) -> None:
    """A proxy of this machine speaks for others, so what it hands on is not of this machine, whatever it says."""
    assert (await client_of(peer, **headers))[0].is_direct_loopback is is_direct


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("unknown", "unknown"),
    ],
)
def test_limits_count_what_one_customer_has(address: str, network: str) -> None:
    """Of IPv6 the first 64 bits count, since the rest is the customer's to choose."""
    assert Client(address, is_direct_loopback=False).network == network

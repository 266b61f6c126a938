"""Who is calling, by address: what limits before anybody is known go by."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Final

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

_FORWARDING: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^;]*))', re.IGNORECASE)
_IPV6_NETWORK: Final = 64
"""The part of an IPv6 address that one customer has; the rest is the customer's to choose."""

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a request.

    Attributes:
        address: of the client; of the proxy, where one is not trusted or does not say.
        is_direct_loopback: whether it is a program of this machine that speaks for itself and not for another.
    """

    address: str
    is_direct_loopback: bool

    @property
    def network(self) -> str:
        """What limits count: the address, of IPv6 the first 64 bits."""
        address = _parsed(self.address)
        if isinstance(address, IPv6Address):
            return str(ip_network((address, _IPV6_NETWORK), strict=False))
        return self.address


class ClientAddress:
    """Finds out which client a request is of, and puts its address where ASGI has it.

    `X-Forwarded-For` and `Forwarded` (RFC 7239) are believed from trusted proxies only, and of them the rightmost
    address that is not a trusted proxy's: what stands left of it, the client may have written itself. Where both
    headers come and do not agree, one of them is the client's, and neither is believed.

    Args:
        app: what comes after.
        trusted: the proxies.
    """

    def __init__(self, app: ASGIApp, *, trusted: Collection[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "lifespan":
            peer = scope.get("client")
            headers = Headers(scope=scope)
            direct = str(peer[0]) if peer else UNKNOWN
            address = self._address(direct, headers)
            if address != direct:
                scope["client"] = (address, 0)
            peer_address = _parsed(direct)
            is_direct = peer_address is not None and peer_address.is_loopback
            client = Client(address, is_direct and not any(name in headers for name in _FORWARDING))
            scope.setdefault("state", {})["client"] = client
        await self._app(scope, receive, send)

    def _address(self, peer: str, headers: Headers) -> str:
        if not self._is_trusted(_parsed(peer)):
            return peer
        listed = ",".join(headers.getlist("x-forwarded-for")).split(",")
        named = list(_named(",".join(headers.getlist("forwarded"))))
        told = {self._rightmost(way) for way in (listed, named) if any(part.strip() for part in way)}
        address = told.pop() if len(told) == 1 else None
        return peer if address is None else str(address)

    def _rightmost(self, way: Iterable[str]) -> IPv4Address | IPv6Address | None:
        for part in reversed(list(way)):
            address = _parsed(_without_port(part.strip()))
            if address is None or not self._is_trusted(address):
                return address
        return None

    def _is_trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _named(forwarded: str) -> Iterable[str]:
    for element in forwarded.split(","):
        if element.strip():
            found = _FOR.search(element.strip())
            yield (found["quoted"] or found["plain"] or "") if found else ""


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def client_of(connection: HTTPConnection) -> Client:
    """Who is at the other end of a request or a socket."""
    client: Client = connection.state.client
    return client


ClientDep = Annotated[Client, Depends(client_of)]

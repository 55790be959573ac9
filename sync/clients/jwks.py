"""An identity provider's signing keys, from an address that an administrator typed in: it must not open a way inwards.

The name is looked up here and every address it stands for is checked; then the connection goes to a checked address and
not to the name, which could mean another by then. The certificate is still checked against the name.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from sync.clients.calls import Call
from sync.clients.errors import Refused, RemoteError, Unavailable
from sync.clients.http import Http, parse

MAX_DOCUMENT = 256 * 1024  # bytes

# These carry an IPv4 address inside, and a gateway may lead to it: RFC 6052 and RFC 3056.
_CARRIERS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))

type Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host name. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def fetch(http: Http, url: str, private_hosts: Sequence[str], look_up: Resolve = resolve) -> Any:
    """The JSON document at `url`. Hosts of `private_hosts` may be inside the network; no redirect is followed.

    Raises Refused where the address is not allowed, and RemoteError as any call does.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        raise Refused("the JWKS URL is not an address") from None
    if parts.scheme != "https" or not host or parts.username or parts.password:
        raise Refused("the JWKS URL is not an https address")
    try:
        addresses = look_up(host, port)
    except (OSError, UnicodeError):
        raise Unavailable(f"the host {host} is not known") from None
    if host not in private_hosts and not all(is_public(address) for address in addresses):
        raise Refused(f"the host {host} has an address that is not public")
    failure: RemoteError = Unavailable(f"the host {host} has no address")
    for address in addresses:
        spelled = f"[{address}]" if ":" in address else address
        there = parts._replace(netloc=f"{spelled}:{port}", fragment="").geturl()
        try:
            content = http.call(
                "GET",
                there,
                # Not kept: connections are kept by address, and another host's keys may lie at the same one. They would
                # come over a connection whose certificate was checked against this name and not theirs.
                headers={"Host": parts.netloc, "Accept": "application/json", "Connection": "close"},
                extensions={"sni_hostname": host},
                call=Call("signing_keys"),
            )
        except Unavailable as error:
            failure = Unavailable(str(error).replace(address, host))
            continue
        if len(content) > MAX_DOCUMENT:
            raise Unavailable(f"the document is longer than {MAX_DOCUMENT} bytes")
        return parse(content)
    raise failure


def is_public(text: str) -> bool:
    """Whether an address is out in the internet, and not inside anybody's network."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in carrier for carrier in _CARRIERS):
            return False
        if address.is_site_local:
            return False
        address = address.ipv4_mapped or address
    return address.is_global and not address.is_multicast and not address.is_reserved

"""Opens only URLs on the public internet: a server that fetches untrusted URLs must not reach its own network.

Every connection is looked at, also those of redirects, and it is made to the very address that was looked at: a name
that changes its address in between (DNS rebinding) gains nothing. Proxies of the environment are not used, because
behind one the address cannot be seen.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from segexport.errors import DownloadError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Allowed = Callable[[Address], bool]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_TIMEOUT_S = 30.0  # default


def is_public(address: Address) -> bool:
    """Whether an address is public; if an IPv6 address contains an IPv4 one, both have to be."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        carried = (address.sixtofour, *(address.teredo or ()))
        if address.is_site_local or any(inner is not None and not is_public(inner) for inner in carried):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def public_opener(allowed: Allowed = is_public) -> Callable[..., Any]:
    """Makes a function like `urllib.request.urlopen`, for http and https, that connects to allowed addresses only.

    Args:
        allowed: Returns whether a connection to an address is allowed.

    Returns:
        `open(url, timeout=seconds)`; raises InputError when an address is refused.
    """

    def connect(host: str, port: int, timeout: float | None) -> socket.socket:
        """Connects to the first address that answers; all must be allowed, so that their order does not matter."""
        deadline = time.monotonic() + (timeout or _TIMEOUT_S)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for entry in found:
            address = ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
            if not allowed(address):
                raise DownloadError(f"{host}: not fetched", cause="it is not in the public internet")  # nor where it is
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, place in found:
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                connection.connect(place)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    safe = ssl.create_default_context()

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = connect(self.host, self.port, self.timeout)

    class SafeConnection(http.client.HTTPSConnection):
        def connect(self) -> None:
            plain = connect(self.host, self.port, self.timeout)
            self.sock = safe.wrap_socket(plain, server_hostname=self.host)

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(SafeConnection, req, context=safe)

    opener = urllib.request.OpenerDirector()  # not build_opener: that adds FTP, files, data and proxies
    for handler in (
        Http(),
        Https(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener.open

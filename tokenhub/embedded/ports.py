"""Choosing TCP ports."""

import errno
import random
import socket

# Below the range that Linux, macOS and Windows take outgoing connections' ports from, so that none of those can sit on
# a port of ours while its server restarts.
_RANGE = range(20000, 30000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether the port is free. Raises OSError when nobody could listen there: not our host, or not allowed."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: connections that are still closing down must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def choose(preferred: int | None = None, host: str = "127.0.0.1") -> int:
    """A free port: the preferred one if it is still free. Raises OSError when there is none."""
    for port in [preferred, *random.sample(_RANGE, 200)]:
        if port and is_free(port, host):
            return port
    raise OSError(f"no free port found between {_RANGE.start} and {_RANGE.stop}")

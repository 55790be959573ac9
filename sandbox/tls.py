"""A certificate authority of the sandbox's own, kept in the data folder, and the server's TLS context."""

import ssl
from pathlib import Path

import trustme

from sandbox.files import DamagedError, write_private

HOSTS = ("localhost", "127.0.0.1", "::1")


def authority(folder: Path) -> tuple[trustme.CA, Path]:
    """The authority kept in `folder` (made on the spot at first), and the file of its certificate, for clients."""
    certificate, key = folder / "ca.pem", folder / "ca-key.pem"
    if not (certificate.exists() and key.exists()):
        ca = trustme.CA(organization_name="tokenhub sandbox")
        write_private(key, ca.private_key_pem.bytes().decode())
        write_private(certificate, ca.cert_pem.bytes().decode())
        return ca, certificate
    try:
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes()), certificate
    except ValueError as error:
        raise DamagedError(
            f"{certificate} or {key} is damaged: {error}. Remove both to get a new authority."
        ) from error


def server_context(ca: trustme.CA) -> ssl.SSLContext:
    """A context with a fresh certificate for this machine's loopback names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*HOSTS).configure_cert(context)
    return context

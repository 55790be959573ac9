"""The mail server, as a URL."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
TIMEOUT = 10  # seconds


def mailer(url: str) -> dict[str, Any]:
    """Django's MAILERS entry for it. Raises ImproperlyConfigured, without the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ImproperlyConfigured(
            "TOKENHUB_EMAIL_URL is not the URL of a mail server, e.g. smtp+tls://user:password@mail.example.com:587"
        )
    options = {
        "host": parts.hostname,
        "port": port or PORTS[parts.scheme],
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "use_tls": parts.scheme == "smtp+tls",
        "use_ssl": parts.scheme == "smtps",
        "timeout": TIMEOUT,
    }
    return {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}

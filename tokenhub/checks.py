"""Boot checks: a bad setting is named before the first request, with a hint how to mend it."""

import os
from collections.abc import Iterable
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connection

from registry.services.apps import identity_warnings
from sync.clients.http import obstacle
from sync.clients.webhook import key_of
from tokenhub.environment import misspelt


@register()
def encryption_keys(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Every encryption key must be one that Fernet takes."""
    for number, key in enumerate(settings.TOKENHUB_ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            yield Error(
                f"Key {number} of TOKENHUB_ENCRYPTION_KEYS is not 32 bytes in URL-safe base64.",
                hint="Put the right one back: no other opens what it encrypted. For a new installation make one with: "
                "python -c 'from cryptography.fernet import Fernet; "
                "print(Fernet.generate_key().decode())'",
                id="tokenhub.E001",
            )


@register()
def host_suffixes(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """An allow-list entry is a bare host name; a top-level domain alone would allow the world."""
    for name in ("TOKENHUB_CIJ_HOST_SUFFIXES", "TOKENHUB_DATAVERSE_HOST_SUFFIXES"):
        for suffix in getattr(settings, name):
            if "/" in suffix or ":" in suffix or not suffix.strip("."):
                yield Error(
                    f"{name} holds {suffix!r}, which is not a host name.",
                    hint="Give host names separated by commas, e.g. .mkt.dynamics.com (a leading dot: any host below).",
                    id="tokenhub.E002",
                )
            elif suffix.startswith(".") and "." not in suffix[1:]:
                yield Error(
                    f"{name} allows every host below {suffix!r}: secrets could be sent anywhere.",
                    hint="Name a domain of your own or of Microsoft, e.g. .mkt.dynamics.com.",
                    id="tokenhub.E003",
                )


@register()
def calls(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Nothing could be called."""
    if why := obstacle():
        yield Error(f"{why}.", hint="Mend it, or unset it.", id="tokenhub.E007")


@register()
def leases(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """A call must end before the claim that it is made under."""
    if settings.TOKENHUB_CALL_DEADLINE >= settings.TOKENHUB_LEASE:
        yield Error(
            "TOKENHUB_CALL_DEADLINE_SECONDS is not shorter than TOKENHUB_LEASE_SECONDS.",
            hint="A call that outlives its lease could be made twice at once; half the lease is a good deadline.",
            id="tokenhub.E004",
        )


@register()
def delays(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Nothing would ever be called, or looked up again."""
    if settings.TOKENHUB_BURST_SECONDS < 1:
        yield Error(
            "TOKENHUB_BURST_SECONDS is less than 1: an app that may make one call a second could make none.",
            hint="Leave it at 10, as long as a sweep may be away.",
            id="tokenhub.E010",
        )
    if not settings.TOKENHUB_LOOK_AGAIN:
        yield Error("TOKENHUB_LOOK_AGAIN_SECONDS is empty.", hint="Give at least one delay.", id="tokenhub.E011")


@register()
def alert_channels(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """A channel that is set by half would tell nobody, and nobody would know."""
    if settings.TOKENHUB_ALERT_EMAILS and not settings.TOKENHUB_EMAIL_URL:
        yield Error(
            "TOKENHUB_ALERT_EMAILS is set, and no mail server is.",
            hint="Set TOKENHUB_EMAIL_URL, e.g. smtp+tls://user:password@mail.example.com:587",
            id="tokenhub.E030",
        )
    url, secret = settings.TOKENHUB_ALERT_WEBHOOK_URL, settings.TOKENHUB_ALERT_WEBHOOK_SECRET
    if url and (not url.startswith(("https://", "http://")) or not secret):
        yield Error(
            "TOKENHUB_ALERT_WEBHOOK_URL is no http address, or TOKENHUB_ALERT_WEBHOOK_SECRET is not set.",
            hint="Both are needed: receivers know by the signature that it was tokenhub.",
            id="tokenhub.E031",
        )
    try:
        key_of(secret)
    except ValueError as error:
        yield Error(f"TOKENHUB_ALERT_WEBHOOK_SECRET: {error}.", hint="Any text will do.", id="tokenhub.E032")


@register(deploy=True)
def debug_off(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """DEBUG shows settings and request bodies to whoever causes an error."""
    if settings.DEBUG and not settings.EMBEDDED:
        yield Error("TOKENHUB_DEBUG is on with an external database.", hint="Unset it.", id="tokenhub.E005")


@register()
def allowed_hosts(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Without ALLOWED_HOSTS every request is refused, which is safe but surprising."""
    if not settings.ALLOWED_HOSTS and not settings.DEBUG:
        yield CheckWarning(
            "TOKENHUB_ALLOWED_HOSTS is empty: every request will be answered with 400.",
            hint="Set it to the public host names, separated by commas.",
            id="tokenhub.W001",
        )


@register()
def names(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """A setting that is spelled wrong would do nothing, and nobody would know."""
    for name, likely in misspelt(os.environ):
        yield CheckWarning(
            f"{name} is set, and there is no such setting.",
            hint=f"Is it {likely}?" if likely else "docs/settings.md has them all.",
            id="tokenhub.W004",
        )


@register()
def trusted_proxies(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """A proxy that is not trusted makes one client of all; trusting everybody lets each client choose its address."""
    if any(network.prefixlen == 0 for network in settings.TOKENHUB_TRUSTED_PROXIES):
        yield Error(
            "TOKENHUB_TRUSTED_PROXIES holds everybody's network: anybody could choose the address to be limited by.",
            hint="Name the networks of your own proxies alone.",
            id="tokenhub.E006",
        )
    if settings.HTTPS and settings.TOKENHUB_LIMIT_ADDRESS > 0 and not settings.TOKENHUB_TRUSTED_PROXIES:
        yield CheckWarning(
            "TLS ends in front of tokenhub, and TOKENHUB_TRUSTED_PROXIES is empty: all phones behind the proxy are "
            "limited as one client.",
            hint="Name the proxy's network, or switch the limit off with TOKENHUB_LIMIT_ADDRESS=0.",
            id="tokenhub.W003",
        )


@register(Tags.database)
def identity_policies(app_configs: Any, databases: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Where users can be made up, or named by nobody. Runs with `migrate`, so at every start of `up`."""
    if not databases:
        return
    try:
        # Looked for first: in a new database the question would stand in its log as an error.
        there = "registry_mobileapp" in connection.introspection.table_names()
        warnings = identity_warnings() if there else {}
    except DatabaseError:  # a column is still to come
        return
    for slug, text in warnings.items():
        yield CheckWarning(f"App {slug}: {text}", id="tokenhub.W002")

"""What was configured: the boot checks, the secrets at rest, and whether anybody would be told."""

from collections.abc import Iterator

from django.conf import settings
from django.core import checks

from registry.services.rotation import Findings, rotate
from sync.telling import channels
from tokenhub.doctor import Finding, Level

OTHERWISE = "docs/settings.md says what each setting does."


def settings_(*, with_database: bool) -> Iterator[Finding]:
    """What Django's checks and ours say, with their hints."""
    found = checks.run_checks(
        include_deployment_checks=not settings.EMBEDDED, databases=["default"] if with_database else []
    )
    serious = [message for message in found if message.level >= checks.WARNING and not message.is_silenced()]
    for message in serious:
        level = Level.ERROR if message.level >= checks.ERROR else Level.WARNING
        yield Finding("settings", level, f"{message.msg} ({message.id})", str(message.hint or OTHERWISE))
    if not channels():
        yield Finding(
            "settings",
            Level.WARNING,
            "nobody is told of alerts",
            "Set TOKENHUB_ALERT_EMAILS with TOKENHUB_EMAIL_URL, or TOKENHUB_ALERT_WEBHOOK_URL; try with test_alerts.",
        )
    if not any(message.level >= checks.ERROR for message in serious):
        yield Finding("settings", Level.OK, "no check finds an error")


def keys() -> Iterator[Finding]:
    """Whether every secret at rest can be read."""
    found = Findings()
    for found in rotate(write=False):  # noqa: B007 the last one has all of it
        pass
    for name in found.unreadable:
        yield Finding(
            "keys",
            Level.ERROR,
            f"{name} was encrypted with a key that is not in TOKENHUB_ENCRYPTION_KEYS",
            "Put that key back behind the present one, or store the secret anew (set_api_token, set_client_secret, "
            "set_token_issuer; of an Authenticator: forget the second factor in the admin's list of users).",
        )
    if not found.unreadable:
        yield Finding("keys", Level.OK, f"all {found.values} secrets at rest can be read")

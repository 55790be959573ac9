"""Sign-ins and lock-outs, in the audit log."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver

from registry.services.audit import record


@receiver(user_logged_in, dispatch_uid="tokenhub.signin")
def signed_in(sender: Any, request: Any, user: User, **kwargs: Any) -> None:
    record(user, "signed in", user)


@receiver(user_locked_out, dispatch_uid="tokenhub.lockout")
def locked_out(sender: Any, request: Any, username: str, ip_address: str, **kwargs: Any) -> None:
    # A name that nobody has may be a password typed into the wrong field: it is not kept.
    if user := User.objects.filter(username=username).first():
        record(user, f"locked out after wrong passwords from {ip_address}")

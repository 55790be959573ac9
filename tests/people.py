"""Accounts of the admin, and their browsers."""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from registry.services.access import give

EVERY = None


def staff(name: str, role: str = "", permissions: Iterable[str] = (), apps: Iterable[str] | None = EVERY) -> User:
    """An account with a role, single permissions, or both, that sees the apps of these slugs (default: every app)."""
    user = User.objects.create_user(name, password="correct-horse-9", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    if role:
        user.groups.set([Group.objects.get(name=role)])
    give(user.pk, None if apps is None else set(apps))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client

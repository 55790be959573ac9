"""The three roles: groups whose permissions `migrate` sets anew each time, so that a new table is in them at once.

Companies that want others make groups of their own; these three are not edited.
"""

from typing import Any

from auditlog.context import disable_auditlog
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

from registry.states import ADMINISTRATOR, OPERATOR, ROLES

# Beside looking at every table of registry.
OPERATES = (
    "change_dataversemapping",  # decides which record a user is
    "change_device",
    "change_interactionevent",  # replays or discards dead letters
    "change_registration",
    "change_mobileuser",
    "pause_mobileapp",
    "export_device",
    "import_device",
)
# An administrator may do everything in registry, and besides:
ADMINISTERS = ("view_user", "add_user", "change_user", "view_group", "view_logentry")
VIEWS = Q(content_type__app_label="registry", codename__startswith="view_")


def permissions_of(role: str) -> Q:
    """Which permissions a role has."""
    if role == ADMINISTRATOR:
        others = Q(content_type__app_label__in=("auth", "auditlog"), codename__in=ADMINISTERS)
        return Q(content_type__app_label="registry") | others
    return VIEWS | Q(content_type__app_label="registry", codename__in=OPERATES) if role == OPERATOR else VIEWS


def make_roles(using: str = "default", **kwargs: Any) -> None:
    """Make the groups, or bring them up to date. Answers Django's post_migrate."""
    for label in ("registry", "auth", "auditlog"):  # their permissions may be made after this
        create_permissions(apps.get_app_config(label), verbosity=0, using=using)
    with disable_auditlog():  # nobody changed what a version of tokenhub brings along
        for role in ROLES:
            group, _ = Group.objects.using(using).get_or_create(name=role)
            group.permissions.set(Permission.objects.using(using).filter(permissions_of(role)))

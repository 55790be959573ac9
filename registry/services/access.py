"""Who may see which apps. Every page of the admin, and every action in it, goes through here."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q, QuerySet

from registry.models import AppScope, DataverseEnvironment, MobileApp, secret_columns


@dataclass(frozen=True)
class Scope:
    """`every`: all apps, those to come too; otherwise the ids, with those of the apps' replaced connections."""

    every: bool
    app_ids: frozenset[int] = frozenset()

    def sees(self, app_id: int | None) -> bool:
        return self.every or app_id in self.app_ids

    def limit[M: Model](self, rows: QuerySet[M], path: str) -> QuerySet[M]:
        """The rows whose app, at the end of `path` ("app", "user__app"; "pk" for apps themselves), is seen."""
        return rows if self.every else rows.filter(**{f"{path}__in": self.app_ids})

    def environments(self) -> QuerySet[DataverseEnvironment]:
        """The Dataverse environments behind the apps that are seen."""
        rows = DataverseEnvironment.objects.all()
        return rows if self.every else rows.filter(pk__in=self.limit(MobileApp.objects.all(), "pk").values("dataverse"))

    def covers(self, environment: DataverseEnvironment) -> bool:
        """Whether all apps of this environment are seen: who changes it changes them all."""
        return self.every or not environment.apps.exclude(pk__in=self.app_ids).exists()


def visible_apps(user: Any) -> list[MobileApp]:
    """The apps that a request's user sees, without their secrets; not the rows of replaced connections."""
    apps = MobileApp.objects.filter(replaced_by=None).select_related("dataverse")
    seen = scope_of(user).limit(apps, "pk")
    return list(seen.defer(*secret_columns(), "dataverse__client_secret").order_by("slug"))


NOTHING, EVERYTHING = Scope(every=False), Scope(every=True)
_KNOWN = "tokenhub_scope"  # kept with the request's user


def scope_of(user: Any) -> Scope:
    """What a request's user sees; asked of the database once a request."""
    if not (user.is_active and user.is_staff):
        return NOTHING
    if user.is_superuser:
        return EVERYTHING
    scope: Scope | None = getattr(user, _KNOWN, None)
    if scope is None:
        scope = _read(user.pk)
        setattr(user, _KNOWN, scope)
    return scope


def _read(user_id: int) -> Scope:
    row = AppScope.objects.filter(pk=user_id).first()
    if row is None:
        return NOTHING
    if row.every_app:
        return EVERYTHING
    chosen = row.apps.values("pk")
    ids = MobileApp.objects.filter(Q(pk__in=chosen) | Q(replaced_by__in=chosen)).values_list("pk", flat=True)
    return Scope(every=False, app_ids=frozenset(ids))


def give(user_id: int, slugs: set[str] | None) -> None:
    """Let an account see the apps of these slugs and no others; None: every app."""
    row, _ = AppScope.objects.update_or_create(pk=user_id, defaults={"every_app": slugs is None})
    row.apps.set(MobileApp.objects.filter(slug__in=slugs or (), replaced_by=None))

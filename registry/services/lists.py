"""Big tables by the page: found by key, never counted, each page read from an index however many rows there are.

What a list can be narrowed to is named here, and each has its index: one app, and one `Show`. A list that is narrowed
is read app by app (and part by part, where the index has a second column), newest first, and merged: PostgreSQL
walks an index in its order for one value only.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from django.db.models import Model, Q, QuerySet

from registry.models import DataverseMapping, Device, InteractionEvent, MobileApp, MobileUser, Registration
from registry.services.access import Scope
from registry.services.search import find
from registry.states import EventState, MappingState, Platform, RegistrationState

AT_ONCE = 500  # ids that one search may come to


@dataclass(frozen=True)
class Show:
    """One way to narrow a list; it has an index that ends in the id."""

    label: str
    where: Q


@dataclass(frozen=True)
class Listing:
    """How a big table is listed. `part` is the index's column between the app and the id.

    `keys`: the table that has the app and the same ids, where it is not the table itself; `app` leads to it. Such a
    table's shows have an index without the app: few rows are in it.
    """

    model: type[Model]
    keys: type[Model] | None = None
    app: str = "app"
    part: str = ""
    values: Sequence[str] = ()
    shows: Mapping[str, Show] = field(default_factory=dict)


def _values(part: str, labels: Mapping[str, str]) -> dict[str, Show]:
    return {value: Show(label, Q(**{part: value})) for value, label in labels.items()}


LISTINGS: dict[type[Model], Listing] = {
    listing.model: listing
    for listing in (
        Listing(
            Device,
            part="platform",
            values=Platform.values,
            shows={
                **_values("platform", dict(Platform.choices)),
                "retired": Show("Retired", Q(retired_at__isnull=False)),
                "nobody": Show("Nobody signed in", Q(user__isnull=True, retired_at__isnull=True)),
                "shared": Show("Shared installation id", Q(shared_since__isnull=False)),
            },
        ),
        Listing(MobileUser, shows={"opted-out": Show("Opted out", Q(push_consent=False))}),
        Listing(
            DataverseMapping,
            keys=MobileUser,
            app="user__app",
            shows={
                "ambiguous": Show("Ambiguous", Q(state=MappingState.AMBIGUOUS)),
                "not_found": Show("Not found", Q(state=MappingState.NOT_FOUND)),
            },
        ),
        Listing(
            Registration,
            part="state",
            values=RegistrationState.values,
            shows=_values("state", {state.value: state.name.capitalize() for state in RegistrationState}),
        ),
        Listing(
            InteractionEvent,
            part="state",
            values=EventState.values,
            shows=_values("state", {state.value: state.name.capitalize().replace("_", " ") for state in EventState}),
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """Which rows are meant: of these apps (None: all), of that one show, among these ids; not narrowed where empty."""

    apps: Collection[int] | None = None
    show: str = ""
    ids: Sequence[int] | None = None

    def page(self, model: type[Model], most: int, beyond: int | None = None, *, upwards: bool = False) -> list[int]:
        """The ids of at most `most` rows, newest first, below the id `beyond`; `upwards`: oldest first, above it."""
        listing = LISTINGS[model]
        rows = self._rows(listing)
        if self.ids is not None or (listing.keys and self.show):
            arms = [self._of_apps(rows, listing)]
        else:
            arms = [rows.filter(arm) for arm in self._arms(listing)]
        order = "pk" if upwards else "-pk"
        if beyond is not None:
            arms = [arm.filter(**{"pk__gt" if upwards else "pk__lt": beyond}) for arm in arms]
        if not arms:
            return []
        found = [arm.order_by(order).values_list("pk", flat=True)[:most] for arm in arms]
        ids = found[0].union(*found[1:], all=True) if len(found) > 1 else found[0]
        return sorted(ids, reverse=not upwards)[:most]

    def count(self, model: type[Model]) -> int:
        """How many there are now: for workers alone, since it takes its time with millions."""
        listing = LISTINGS[model]
        return self._of_apps(self._rows(listing), listing).count()

    def _rows(self, listing: Listing) -> QuerySet[Any]:
        model = listing.model if self.show else listing.keys or listing.model
        rows: QuerySet[Any] = model._default_manager.all()  # noqa: SLF001 documented
        if self.show:
            rows = rows.filter(listing.shows[self.show].where)
        return rows if self.ids is None else self._of_apps(rows.filter(pk__in=self.ids), listing)

    def _of_apps(self, rows: QuerySet[Any], listing: Listing) -> QuerySet[Any]:
        path = listing.app if rows.model is listing.model else "app"
        return rows if self.apps is None else rows.filter(**{f"{path}__in": self.apps})

    def _arms(self, listing: Listing) -> Iterable[Q]:
        """What to ask one by one, so that each is one walk along one index."""
        if self.apps is None and not self.show:
            return [Q()]
        by_part = listing.part and not self.show
        parts = [Q(**{listing.part: value}) for value in listing.values] if by_part else [Q()]
        apps = MobileApp.objects.values_list("pk", flat=True) if self.apps is None else self.apps
        return [Q(app=app) & part for app, part in product(sorted(apps), parts)]


def chosen(scope: Scope, app: int | None = None, show: str = "", ids: Sequence[int] | None = None) -> Choice:
    """What somebody chose, within what they see."""
    if app is None:
        return Choice(None if scope.every else scope.app_ids, show, ids)
    return Choice([app] if scope.sees(app) else [], show, ids)


def search(model: type[Model], text: str, apps: Sequence[MobileApp]) -> list[int]:
    """The ids of the rows that `text` names, or whose user or device it names: registry.services.search."""
    found = list(find(text, apps))
    users = {row.pk for row in found if isinstance(row, MobileUser)}
    devices = {row.pk for row in found if isinstance(row, Device)}
    if model in (MobileUser, DataverseMapping):
        return sorted(users | {row.user_id for row in found if isinstance(row, Device) and row.user_id})
    devices |= set(Device.objects.filter(user__in=users).values_list("pk", flat=True)[:AT_ONCE])
    if model is Device:
        return sorted(devices)
    rows: QuerySet[Any] = model._default_manager.filter(device__in=devices)  # noqa: SLF001 documented
    return list(rows.order_by().values_list("pk", flat=True)[:AT_ONCE])

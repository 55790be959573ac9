"""How the admin looks, and what its sidebar leads to. Unfold reads `UNFOLD` through the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

from tokenhub.version import VERSION


@dataclass(frozen=True)
class Page:
    """One entry of the sidebar, for those who have the permission; `icon` is one of Google's Material Symbols.

    `also` names pages below it whose address does not say so. `whole`: it is for those who see every app.
    """

    title: str
    icon: str
    url: str
    permission: str = ""
    also: tuple[str, ...] = ()
    whole: bool = False


def _table(title: str, icon: str, model: str, *also: str, whole: bool = False) -> Page:
    app, name = model.split(".")
    return Page(title, icon, f"admin:{app}_{name}_changelist", f"{app}.view_{name}", also, whole)


# What a person comes for most often stands first.
SIDEBAR: tuple[tuple[str, tuple[Page, ...]], ...] = (
    (
        "",
        (
            Page("Overview", "dashboard", "admin:index"),
            Page("Explain", "person_search", "explain", "registry.view_mobileuser"),
            Page("Unresolved users", "person_alert", "unresolved", "registry.view_dataversemapping"),
        ),
    ),
    (
        "Customers",
        (
            _table("Users", "person", "registry.mobileuser"),
            _table("Devices", "smartphone", "registry.device", "import_devices"),
            _table("Dataverse mappings", "link", "registry.dataversemapping"),
            _table("Erasures", "person_remove", "registry.erasure"),
            _table("Bulk actions", "checklist", "registry.bulkjob"),
        ),
    ),
    (
        "Customer Insights - Journeys",
        (
            _table("Registrations", "app_registration", "registry.registration"),
            Page("Opens", "monitoring", "opens", "registry.view_eventcount"),
            _table("Interaction events", "touch_app", "registry.interactionevent"),
            _table("Pauses", "pause_circle", "registry.pause"),
        ),
    ),
    (
        "Set-up",
        (
            _table("Apps", "apps", "registry.mobileapp", "connect_app", "app"),
            _table("API keys", "key", "registry.apikey"),
            _table("Token issuers", "verified_user", "registry.tokenissuer"),
            _table("Dataverse environments", "database", "registry.dataverseenvironment"),
            _table("Change feeds", "rss_feed", "registry.changefeed"),
            _table("Replaced connections", "history", "registry.replacedconnection"),
        ),
    ),
    (
        "Access",
        (
            _table("Accounts", "manage_accounts", "auth.user", whole=True),
            _table("Roles", "badge", "auth.group", whole=True),
            _table("Audit log", "policy", "auditlog.logentry", whole=True),
        ),
    ),
)


def _entry(page: Page, *, marked: bool) -> dict[str, Any]:
    entry = {"title": page.title, "icon": page.icon, "link": reverse(page.url)}
    return {**entry, "active": True} if marked else entry  # else Unfold compares the addresses


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups and entries that this person may open, as Unfold wants them."""
    from registry.services.access import scope_of  # the settings read this module before there are tables

    here = request.resolver_match.url_name if request.resolver_match else None
    every = scope_of(request.user).every
    groups = []
    for number, (title, pages) in enumerate(SIDEBAR):
        items = [
            _entry(page, marked=here in page.also)
            for page in pages
            if (not page.permission or request.user.has_perm(page.permission)) and (every or not page.whole)
        ]
        if items:
            groups.append({"title": title, "separator": number > 0, "items": items})
    return groups


def context(request: HttpRequest) -> dict[str, Any]:
    """Unfold would write the colours into each page as an inline style; ours are in console.css."""
    return {"colors": None}


def version(request: HttpRequest) -> str:
    """The version, for those who are signed in: to others it would say which weaknesses to try."""
    return VERSION if request.user.is_authenticated else ""


def favicon(request: HttpRequest) -> HttpResponse:
    """What browsers ask for by themselves, also beside pages that name none."""
    return redirect(static("tokenhub/favicon.svg"))


def _file(name: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(f"tokenhub/{name}")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "tokenhub",
    "SITE_HEADER": "tokenhub",
    "SITE_SUBHEADER": "device token management",
    "SITE_VERSION": version,
    "SITE_SYMBOL": "cell_tower",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "SITE_FAVICONS": [{"rel": "icon", "href": _file("favicon.svg"), "type": "image/svg+xml"}],
    "STYLES": [_file("console.css")],
    "SCRIPTS": [_file("keyboard.js")],
    "GLOBAL_CALLBACK": "tokenhub.console.context",
    "ACCOUNT": {"navigation": [{"title": "Two-factor sign-in", "link": reverse_lazy("mfa_index")}]},
    "DASHBOARD_CALLBACK": "sync.dashboard.context",
    "SIDEBAR": {"navigation": sidebar},
}

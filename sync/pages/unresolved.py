"""The work list: users whose Dataverse record is not known, or not told apart, and who decides.

A page is a keyset of the index of unresolved mappings: as quick with a million of them as with ten. The candidates on
it are read live, one call for each table of each environment; where Dataverse does not answer, only their ids are seen.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from registry.models import DataverseEnvironment, DataverseMapping, MobileApp, MobileUser, secret_columns
from registry.services import audit
from registry.services.access import visible_apps
from registry.services.decisions import ask_again, pin
from registry.services.dynamics import parse_record, record_url
from registry.services.errors import InvalidInput
from registry.states import DataverseTable, MappingState
from sync import candidates
from sync.candidates import Candidate
from sync.clients.errors import RemoteError
from sync.records import Ref

PAGE = 20  # users
MOST = 8  # candidates of one user; who has more is told so
STATES = (MappingState.AMBIGUOUS, MappingState.NOT_FOUND)
DECIDE = "registry.change_dataversemapping"


@dataclass(frozen=True)
class Case:
    """One user of the list, with the records that they may be."""

    mapping: DataverseMapping
    candidates: Sequence[Candidate] = field(default_factory=list)
    more: int = 0  # candidates beside those that are shown

    @property
    def user(self) -> MobileUser:
        return self.mapping.user


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(("registry.view_dataversemapping", "registry.view_mobileuser"), raise_exception=True)
def unresolved(request: HttpRequest) -> HttpResponse:
    """`state` and `app` filter the list, `user` shows one user alone, `after` (a user's id) goes on in it."""
    apps = {app.pk: app for app in visible_apps(request.user)}
    if request.method == "POST":
        return _decide(request, apps)
    state = MappingState.NOT_FOUND if request.GET.get("state") == MappingState.NOT_FOUND else MappingState.AMBIGUOUS
    chosen = next((app for app in apps.values() if app.slug == request.GET.get("app")), None)
    found = _page(request, state, [chosen.pk] if chosen else list(apps))
    cases, problems = _with_candidates(found[:PAGE])
    context = {
        **admin.site.each_context(request),
        "title": "Unresolved users",
        "cases": cases,
        "problems": problems,
        "state": state,
        "states": STATES,
        "apps": apps.values(),
        "chosen": chosen,
        "after": found[PAGE - 1].user_id if len(found) > PAGE else None,
        "alone": "user" in request.GET,
        "may_decide": request.user.has_perm(DECIDE),
    }
    return TemplateResponse(request, "sync/unresolved.html", context)


def _page(request: HttpRequest, state: MappingState, apps: Iterable[int]) -> Sequence[DataverseMapping]:
    """The mappings of the page, and one more where there is a next one."""
    rows = DataverseMapping.objects.filter(user__app__in=list(apps)).select_related("user__app__dataverse")
    rows = rows.defer(*secret_columns("user__app__"))
    if user := request.GET.get("user", ""):
        return list(rows.filter(pk=_number(user)))
    return list(rows.filter(state=state, pk__gt=_number(request.GET.get("after", ""))).order_by("pk")[: PAGE + 1])


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _with_candidates(found: Sequence[DataverseMapping]) -> tuple[list[Case], list[str]]:
    """The cases with their candidates, and what went wrong where those could not be read."""
    wanted: defaultdict[DataverseEnvironment, set[Ref]] = defaultdict(set)
    for mapping in found:
        wanted[mapping.user.app.dataverse] |= set(_refs(mapping)[:MOST])
    known: dict[tuple[int, Ref], Candidate] = {}
    problems = []
    for environment, refs in wanted.items():
        if refs:
            try:
                records = candidates.read(environment, sorted(refs), DataverseTable.values)
            except RemoteError as error:
                problems.append(f"Dataverse {environment} does not tell who these are now: {error}.")
            else:
                known |= {(environment.pk, record.ref): record for record in records}
    return [_case(mapping, known) for mapping in found], problems


def _case(mapping: DataverseMapping, known: Mapping[tuple[int, Ref], Candidate]) -> Case:
    environment, refs = mapping.user.app.dataverse, _refs(mapping)
    unread = [Candidate(ref, record_url(environment, ref.table, ref.id)) for ref in refs[:MOST]]
    shown = [known.get((environment.pk, record.ref), record) for record in unread]
    return Case(mapping, shown, len(refs) - len(shown))


def _refs(mapping: DataverseMapping) -> list[Ref]:
    return [Ref(mapping.table, uuid.UUID(str(found))) for found in mapping.candidates if mapping.table]


def _decide(request: HttpRequest, apps: Mapping[int, MobileApp]) -> HttpResponse:
    """Pin what was chosen or typed in, ask again for whoever was ticked: `record-<user>`, `other-<user>`, `again`.

    With `everybody` it is asked again for all others on the page (`shown`).
    """
    if not request.user.has_perm(DECIDE):
        messages.error(request, "You may look at unresolved users, and not decide about them.")
        return redirect(request.get_full_path())
    asked = {_number(value) for value in request.POST.getlist("shown" if "everybody" in request.POST else "again")}
    typed = {
        _number(name.partition("-")[2]): str(value).strip()
        for prefix in ("record-", "other-")  # what was typed in counts for more
        for name, value in request.POST.items()
        if name.startswith(prefix) and str(value).strip()
    }
    among = (
        MobileUser.objects.filter(app__in=list(apps)).select_related("app__dataverse").defer(*secret_columns("app__"))
    )
    users = {user.pk: user for user in among.filter(pk__in={*asked, *typed})}
    by = request.user.get_username()
    pinned = 0
    for pk in sorted(typed.keys() & users.keys()):
        try:
            table = _pin(users[pk], typed[pk], by)
            mapping = DataverseMapping(user_id=pk, state=MappingState.MAPPED)
            audit.record(mapping, f"pinned by hand, to a {table}", request.user)
            pinned += 1
        except (InvalidInput, RemoteError) as error:
            what = error.message if isinstance(error, InvalidInput) else f"Dataverse did not tell: {error}."
            messages.error(request, f"{users[pk]}: {what}")
    asking = sorted((asked & users.keys()) - typed.keys())
    again = ask_again(asking, by)
    for mapping in DataverseMapping.objects.filter(pk__in=asking):
        audit.record(mapping, "Dataverse is asked again, by hand", request.user)
    if pinned:
        messages.success(request, f"Mapped: {pinned}. The devices are registered in a moment.")
    if again:
        messages.success(request, f"Asked again: {again}. Dataverse answers in a moment.")
    if not pinned and not again and not messages.get_messages(request):
        messages.warning(request, "Nothing was chosen.")
    return redirect(request.get_full_path())


def _pin(user: MobileUser, text: str, by: str) -> str:
    """Pin the record that was chosen (`table:id`) or typed in; return its table. Raises InvalidInput and RemoteError.

    It is read once more: nobody is mapped to a record that is gone, or to one of another table than was thought.
    """
    table, _, id_ = text.partition(":")
    if table in DataverseTable.values:
        refs = [Ref(table, parse_record(id_)[1])]
    else:
        table, record = parse_record(text)
        refs = [Ref(name, record) for name in ([table] if table else user.app.match)]
    found = candidates.read(user.app.dataverse, refs, user.app.match)
    there = next((record for record in found if not record.gone), None)
    if there is None:
        why = " ".join(sorted({f"The {record.ref.table} {record.gone}." for record in found}))
        raise InvalidInput("record", why)
    pin(user, there.ref.table, there.ref.id, by)
    return there.ref.table

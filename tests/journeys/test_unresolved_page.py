"""The work list: from a page with the candidates side by side to what CI-J holds."""

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from registry.models import DataverseMapping, MobileUser
from registry.services.access import give
from registry.services.roles import make_roles
from tests.sandbox_process import World

PAGE = "/admin/unresolved/"


def somebody(role: str) -> Client:
    make_roles()
    user = User.objects.create_user("carla", password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    give(user.pk, None)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(world: World) -> Client:
    return somebody("operator")


def ambiguous(world: World, name: str = "anna") -> list[str]:
    """Somebody of whom Dataverse has two active records."""
    email = f"{name}@example.com"
    ids = [world.contact(emailaddress1=email, fullname=f"{name.title()} {number}") for number in (1, 2)]
    world.server.launch(installation_id=name, token=f"token-of-{name}", user={"id": name, "email": email})
    world.work_until(lambda: world.server.state(name) == "ambiguous")
    return ids


def post(client: Client, **data: Any) -> str:
    return client.post(PAGE, data, follow=True).content.decode()


def test_the_candidates_stand_side_by_side_and_the_chosen_one_is_registered(world: World, operator: Client) -> None:
    ids = ambiguous(world)
    page = operator.get(PAGE).content.decode()
    assert "Anna 1" in page
    assert "Anna 2" in page
    assert f"etn=contact&amp;id={ids[0]}" in page
    user = MobileUser.objects.get()
    told = post(operator, **{f"record-{user.pk}": f"contact:{ids[1]}"})
    assert "Mapped: 1." in told
    assert "Nobody is ambiguous." in told
    world.work_until(lambda: world.held() == {(ids[1], "token-of-anna")})
    assert DataverseMapping.objects.get().decided_by == "carla"
    entry = LogEntry.objects.get(actor__username="carla", content_type__model="dataversemapping")
    assert entry.additional_data == {"what": "pinned by hand, to a contact"}
    assert "anna" not in entry.object_repr, "the audit log outlives an erasure"


def test_several_are_decided_at_once_and_one_that_cannot_be_does_not_stop_the_others(
    world: World, operator: Client
) -> None:
    annas, berts = ambiguous(world, "anna"), ambiguous(world, "bert")
    anna, bert = (MobileUser.objects.get(external_id=name).pk for name in ("anna", "bert"))
    world.microsoft.patch_record("contacts", annas[0], statecode=1)
    told = post(operator, **{f"record-{anna}": f"contact:{annas[0]}", f"record-{bert}": f"contact:{berts[0]}"})
    assert "anna: The contact was deactivated." in told
    assert "Mapped: 1." in told
    world.work_until(lambda: world.held() == {(berts[0], "token-of-bert")})


def test_who_is_not_found_is_pinned_by_the_address_of_a_page_in_dynamics(world: World, operator: Client) -> None:
    record = world.contact(fullname="Anna", emailaddress1="another@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "not_found")
    assert "anna@example.com" in operator.get(PAGE, {"state": "not_found"}).content.decode()
    user = MobileUser.objects.get()
    assert "is not there any more" in post(operator, **{f"other-{user.pk}": "0" * 32})
    assert "Give the record" in post(operator, **{f"other-{user.pk}": "anna"})
    post(operator, **{f"other-{user.pk}": f"https://x.crm4.dynamics.com/main.aspx?etn=contact&id={record}"})
    world.work_until(lambda: world.held() == {(record, "token-1")})


def test_who_is_ticked_is_asked_for_again(world: World, operator: Client) -> None:
    ids = ambiguous(world)
    world.microsoft.patch_record("contacts", ids[0], statecode=1)
    assert "Asked again: 1." in post(operator, again=[str(MobileUser.objects.get().pk)])
    world.work_until(lambda: world.held() == {(ids[1], "token-of-anna")})


def test_everybody_on_the_page_is_asked_for_again_but_for_whom_a_record_was_chosen(
    world: World, operator: Client
) -> None:
    ids = ambiguous(world)
    for name in ("bert", "cleo"):
        world.server.launch(installation_id=name, token=f"token-of-{name}", user={"id": name, "email": "n@example.com"})
    world.work_until(lambda: DataverseMapping.objects.filter(state="not_found").count() == 2)
    assert "for all 2 on this page" in operator.get(PAGE, {"state": "not_found"}).content.decode()
    users = {user.external_id: user.pk for user in MobileUser.objects.all()}
    chosen = {f"record-{users['anna']}": f"contact:{ids[0]}"}
    said = post(operator, shown=[str(pk) for pk in users.values()], everybody="again", **chosen)
    assert "Mapped: 1." in said
    assert "Asked again: 2." in said


def test_an_outage_of_dataverse_leaves_the_page_and_decides_nothing(world: World, operator: Client) -> None:
    ids = ambiguous(world)
    world.microsoft.add_fault("query", status=503)
    page = operator.get(PAGE).content.decode()
    assert "does not tell who these are now: HTTP 503." in page
    assert ids[0] in page
    world.microsoft.clear_faults()
    world.microsoft.add_fault("query", status=503)
    user = MobileUser.objects.get()
    assert "anna: Dataverse did not tell" in post(operator, **{f"record-{user.pk}": f"contact:{ids[0]}"})
    assert DataverseMapping.objects.get().state == "ambiguous"


def test_a_viewer_looks_and_does_not_decide(world: World) -> None:
    ids = ambiguous(world)
    viewer = somebody("viewer")
    assert "Save decisions" not in viewer.get(PAGE).content.decode()
    user = MobileUser.objects.get()
    assert "not decide about them" in post(viewer, **{f"record-{user.pk}": f"contact:{ids[0]}"})
    assert DataverseMapping.objects.get().state == "ambiguous"


def test_users_of_other_apps_are_neither_seen_nor_decided(world: World, operator: Client) -> None:
    ids = ambiguous(world)
    give(User.objects.get().pk, set())
    assert "Anna 1" not in operator.get(PAGE).content.decode()
    user = MobileUser.objects.get()
    assert "anna" not in operator.get(PAGE, {"user": user.pk}).content.decode()
    post(operator, **{f"record-{user.pk}": f"contact:{ids[0]}"})
    assert DataverseMapping.objects.get().state == "ambiguous"


def test_the_list_goes_on_where_the_page_ended(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.pages.unresolved.PAGE", 2)
    for name in ("anna", "bert", "carla"):
        user = MobileUser.objects.create(app=world.app, external_id=name)
        DataverseMapping.objects.create(user=user, state="not_found")
    first = operator.get(PAGE, {"state": "not_found"}).content.decode()
    after = MobileUser.objects.get(external_id="bert").pk
    assert f"after={after}" in first
    assert ">carla</a>" not in first
    rest = operator.get(PAGE, {"state": "not_found", "after": str(after)}).content.decode()
    assert ">carla</a>" in rest
    assert "after=" not in rest

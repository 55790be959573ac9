"""What a person decides of a mapping: a pinned record is registered, and stays whatever the app posts."""

import uuid

import pytest

from registry.models import DataverseMapping, HistoryEntry, MobileUser
from registry.services.decisions import ask_again, pin
from registry.services.errors import InvalidInput
from registry.states import HistoryKind
from sync import candidates
from sync.records import Ref
from sync.steps import recheck
from tests.sandbox_process import World


def ambiguous(world: World) -> tuple[MobileUser, list[str]]:
    """Anna, of whom Dataverse has two active records."""
    ids = [world.contact(emailaddress1="anna@example.com", fullname=f"Anna {number}") for number in (1, 2)]
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "ambiguous")
    return MobileUser.objects.select_related("app").get(), ids


def test_a_pinned_record_is_registered_and_stays_whatever_the_app_posts(world: World) -> None:
    user, ids = ambiguous(world)
    pin(user, "contact", uuid.UUID(ids[1]), "carla")
    world.work_until(lambda: world.held() == {(ids[1], "token-1")} and world.server.state() == "registered")
    other = world.contact(emailaddress1="a@example.com")
    world.server.launch(user={"id": "anna", "email": "a@example.com"})
    world.work_for(0.5)
    assert world.held() == {(ids[1], "token-1")}
    mapping = DataverseMapping.objects.get()
    assert (mapping.matched_by, mapping.decided_by) == ("pinned", "carla")
    decided = HistoryEntry.objects.get(kind=HistoryKind.MAPPING_DECIDED)
    assert (decided.by, (decided.data or {})["id"]) == ("carla", ids[1])
    # Asked again it is not believed any longer.
    assert ask_again([user.pk], "dora") == 1
    world.work_until(lambda: world.held() == {(other, "token-1")})
    assert DataverseMapping.objects.get().decided_by == "dora"


def test_a_recheck_respects_a_pinned_mapping_and_follows_its_record(world: World) -> None:
    user, ids = ambiguous(world)
    pin(user, "contact", uuid.UUID(ids[1]), "carla")
    world.work_until(lambda: world.held() == {(ids[1], "token-1")})
    DataverseMapping.objects.update(recheck_at="2026-01-01T00:00:00Z")
    assert recheck.run_batch(world.app) == 1
    mapping = DataverseMapping.objects.get()
    assert (str(mapping.dataverse_id), mapping.matched_by) == (ids[1], "pinned")
    # Merged: the master is followed, and is pinned.
    world.microsoft.patch_record("contacts", ids[1], statecode=1, merged=True, _masterid_value=ids[0])
    DataverseMapping.objects.update(recheck_at="2026-01-01T00:00:00Z")
    world.work_until(lambda: world.held() == {(ids[0], "token-1")})
    mapping = DataverseMapping.objects.get()
    assert (str(mapping.dataverse_id), mapping.matched_by, mapping.decided_by) == (ids[0], "pinned", "carla")


def test_an_answer_that_was_asked_for_before_the_decision_is_dropped(world: World) -> None:
    user, ids = ambiguous(world)
    asked = DataverseMapping.objects.get().claim_no
    pin(user, "contact", uuid.UUID(ids[0]), "carla")
    assert DataverseMapping.objects.get().claim_no > asked


def test_who_is_asked_for_again_is_looked_up_at_once(world: World) -> None:
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "not_found")
    DataverseMapping.objects.update(due_at="2030-01-01T00:00:00Z", attempts=5)
    anna = world.contact(emailaddress1="anna@example.com")
    ask_again([MobileUser.objects.get().pk], "carla")
    world.work_until(lambda: world.held() == {(anna, "token-1")})


def test_only_tables_of_the_app_can_be_pinned(world: World) -> None:
    user, _ = ambiguous(world)
    world.app.match = ["contact"]
    world.app.save(update_fields=["match"])
    user.refresh_from_db()
    with pytest.raises(InvalidInput, match="does not look for users in the table lead"):
        pin(user, "lead", uuid.uuid4(), "carla")


def test_candidates_are_read_live(world: World) -> None:
    _, ids = ambiguous(world)
    gone, missing = world.contact(statecode=1), str(uuid.uuid4())
    [lead] = world.microsoft.add_records("leads", [{"fullname": "Anna\u202e L.", "mobilephone": "+4930123456"}])
    [profile] = world.microsoft.add_records("msdynci_customerprofiles", [{"msdynci_email": "anna@example.com"}])
    refs = [Ref("contact", uuid.UUID(id_)) for id_ in (ids[0], gone, missing)]
    refs += [Ref("lead", uuid.UUID(lead)), Ref("profile", uuid.UUID(profile))]
    found = candidates.read(world.app.dataverse, refs, world.app.match)
    assert [row.ref for row in found] == refs
    assert [(row.name, row.email, row.phone) for row in found] == [
        ("Anna 1", "anna@example.com", ""),
        ("", "", ""),
        ("", "", ""),
        ("Anna L.", "", "+4930123456"),
        ("", "anna@example.com", ""),
    ]
    assert [row.gone for row in found] == ["", "was deactivated", "is not there any more", "", ""]
    assert found[0].changed_at is not None
    assert found[3].link == f"{world.microsoft.url}/main.aspx?pagetype=entityrecord&etn=lead&id={lead}"

"""Old mappings are looked at again: merged, qualified, deactivated and deleted records, and a privilege withdrawn."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from registry.models import DataverseEnvironment, DataverseMapping
from sync import records
from sync.status import open_pauses
from sync.steps import recheck
from tests.sandbox_process import World, make_world

ANNA = {"id": "anna", "email": "anna@example.com"}


def due() -> None:
    DataverseMapping.objects.update(recheck_at=timezone.now())


def registered(world: World, record: str) -> bool:
    return world.held() == {(record, "token-1")} and world.server.state() == "registered"


def launch(world: World) -> str:
    """Anna, mapped to a contact and registered; return the contact."""
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, anna))
    return anna


def crowd(world: World, size: int) -> list[str]:
    """That many mapped users; return their contacts."""
    contacts = world.microsoft.add_records("contacts", [{"emailaddress1": f"u{n}@example.com"} for n in range(size)])
    for n in range(size):
        user = {"id": f"u{n}", "email": f"u{n}@example.com"}
        world.server.launch(installation_id=f"u{n}", token=f"token-{n}", user=user)
    world.work_until(lambda: len(world.held()) == size)
    return contacts


def sync_status() -> str:
    out = io.StringIO()
    call_command("sync_status", stdout=out)
    return out.getvalue()


def test_an_active_record_keeps_its_user_whatever_else_appears(world: World) -> None:
    anna = launch(world)
    world.contact(emailaddress1="anna@example.com")
    before = DataverseMapping.objects.get()
    assert timedelta(hours=23) < before.recheck_at - timezone.now() <= timedelta(hours=24)
    due()
    world.work_for(0.3)
    after = DataverseMapping.objects.get()
    assert before.checked_at
    assert after.checked_at
    assert after.checked_at > before.checked_at
    assert after.recheck_at > timezone.now() + timedelta(hours=23)
    assert (after.state, str(after.dataverse_id), after.detail) == ("mapped", anna, "")
    assert world.microsoft.calls("cleanup") == []


def test_a_mapping_is_not_looked_at_before_its_time(world: World) -> None:
    launch(world)
    calls = len(world.microsoft.calls("query"))
    world.work_for(0.3)
    assert len(world.microsoft.calls("query")) == calls


def test_a_merged_contact_is_followed_to_the_last_master(world: World) -> None:
    anna = launch(world)
    master = world.contact(fullname="Anna")
    middle = world.contact(statecode=1, merged=True, _masterid_value=master)
    world.microsoft.patch_record("contacts", anna, statecode=1, merged=True, _masterid_value=middle)
    due()
    world.work_until(lambda: registered(world, master))
    effects = [(effect.kind, effect.user_id) for effect in world.microsoft.effects()]
    assert effects == [("register", anna), ("cleanup", anna), ("register", master)]
    assert "merged into another: followed" in DataverseMapping.objects.get().detail


def test_a_merged_lead_is_followed_to_its_master_and_on_to_the_contact_that_was_made_of_that(world: World) -> None:
    [lead] = world.microsoft.add_records("leads", [{"emailaddress1": "anna@example.com"}])
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, lead))
    [master] = world.microsoft.add_records("leads", [{"fullname": "Anna"}])
    world.microsoft.patch_record("leads", lead, statecode=2, merged=True, _masterid_value=master)
    due()
    world.work_until(lambda: registered(world, master))
    assert DataverseMapping.objects.get().detail == (
        "The lead that this user was mapped to was merged into another: followed."
    )
    contact = world.contact(_originatingleadid_value=master)
    world.microsoft.patch_record("leads", master, statecode=1)
    due()
    world.work_until(lambda: registered(world, contact))


@pytest.mark.parametrize("link", ["parent", "origin"])
def test_a_qualified_lead_is_followed_to_its_contact(world: World, link: str) -> None:
    [lead] = world.microsoft.add_records("leads", [{"emailaddress1": "anna@example.com"}])
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, lead))
    contact = world.contact(**({"_originatingleadid_value": lead} if link == "origin" else {}))
    parent = {"_parentcontactid_value": contact} if link == "parent" else {}
    world.microsoft.patch_record("leads", lead, statecode=1, **parent)
    due()
    world.work_until(lambda: registered(world, contact))
    assert DataverseMapping.objects.get().table == "contact"


def test_an_app_without_contacts_loses_a_qualified_lead_and_reads_no_contact(world: World) -> None:
    leads = make_world(world.microsoft, world.app.dataverse, "leads", match=["lead"])
    contact = world.contact(emailaddress1="anna@example.com")
    [lead] = world.microsoft.add_records("leads", [{"emailaddress1": "anna@example.com"}])
    leads.server.launch(user=ANNA)
    leads.work_until(lambda: registered(leads, lead))
    world.microsoft.patch_record("leads", lead, statecode=1, _parentcontactid_value=contact)
    due()
    leads.work_until(lambda: leads.held() == set())
    assert "does not look for contacts" in DataverseMapping.objects.get().detail


def test_a_profile_that_was_unified_anew_is_looked_up_again(world: World) -> None:
    row = {"msdynci_email": "anna@example.com"}
    [old] = world.microsoft.add_records("msdynci_customerprofiles", [row])
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, old))
    due()
    world.work_for(0.3)
    assert registered(world, old)
    world.microsoft.delete_record("msdynci_customerprofiles", old)
    [new] = world.microsoft.add_records("msdynci_customerprofiles", [row])
    due()
    world.work_until(lambda: registered(world, new))


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_a_lost_record_is_cleaned_up_and_told_of_until_another_is_found(world: World, how: str) -> None:
    anna = launch(world)
    if how == "deleted":
        world.microsoft.delete_record("contacts", anna)
    else:
        world.microsoft.patch_record("contacts", anna, statecode=1)
    due()
    world.work_until(lambda: world.held() == set())
    mapping = DataverseMapping.objects.get()
    assert (mapping.state, mapping.dataverse_id) == ("not_found", None)
    said = {"deleted": "is not there any more", "deactivated": "was deactivated"}[how]
    assert said in world.server.get("devices/phone-1").json()["registration"]["reason"]
    other = world.contact(emailaddress1="anna@example.com")
    DataverseMapping.objects.update(due_at=timezone.now())
    world.work_until(lambda: registered(world, other))
    assert DataverseMapping.objects.get().detail == ""


def test_another_record_with_the_same_address_takes_over_at_once(world: World) -> None:
    anna = launch(world)
    other = world.contact(emailaddress1="anna@example.com")
    world.microsoft.delete_record("contacts", anna)
    due()
    world.work_until(lambda: registered(world, other))


def test_a_ring_of_merges_ends(world: World) -> None:
    anna = launch(world)
    other = world.contact(statecode=1, merged=True, _masterid_value=anna)
    world.microsoft.patch_record("contacts", anna, statecode=1, merged=True, _masterid_value=other)
    due()
    world.work_until(lambda: world.held() == set())
    assert "in a ring" in DataverseMapping.objects.get().detail


def test_many_mappings_cost_one_call_and_those_due_soon_come_along(world: World) -> None:
    crowd(world, 12)
    DataverseMapping.objects.update(recheck_at=timezone.now() + timedelta(hours=11))
    first = DataverseMapping.objects.order_by("pk").first()
    assert first is not None
    DataverseMapping.objects.filter(pk=first.pk).update(recheck_at=timezone.now())
    seen = world.microsoft.summary()["seq"]
    world.work_for(0.3)
    assert len(world.microsoft.calls("query", after=seen)) == 1
    assert not DataverseMapping.objects.filter(recheck_at__lt=timezone.now() + timedelta(hours=23)).exists()


def test_an_answer_about_a_user_who_changed_meanwhile_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = launch(world)
    bert = world.contact(emailaddress1="bert@example.com")
    world.microsoft.delete_record("contacts", anna)
    due()
    trace = records.trace

    def meanwhile(*arguments: Any) -> Any:
        world.server.launch(user={"id": "anna", "email": "bert@example.com"})
        return trace(*arguments)

    monkeypatch.setattr(records, "trace", meanwhile)
    recheck.run_batch(world.app)
    assert DataverseMapping.objects.get().state == "mapped"
    world.work_until(lambda: registered(world, bert))


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"malformed": True}, {"status": 403}, {"drop_connection": "middle"}]
)
def test_a_fault_on_the_way_loses_no_mapping(world: World, fault: dict[str, Any]) -> None:
    anna = launch(world)
    world.microsoft.add_fault("query", times=None, **fault)
    due()
    world.work_for(0.3)
    assert registered(world, anna)
    assert DataverseMapping.objects.get().recheck_at < timezone.now() + timedelta(minutes=1)
    world.microsoft.clear_faults()
    world.app.dataverse.pauses.update(until=timezone.now())
    due()
    world.work_for(0.3)
    assert DataverseMapping.objects.get().recheck_at > timezone.now() + timedelta(hours=23)
    assert not open_pauses(world.app).exists()


def test_many_lost_at_once_pause_the_environment_until_the_records_are_back(world: World) -> None:
    contacts = crowd(world, 12)
    for contact in contacts:  # as an answer looks after the privilege was withdrawn
        world.microsoft.delete_record("contacts", contact)
    due()
    world.work_for(0.5)
    assert len(world.held()) == 12
    assert set(DataverseMapping.objects.values_list("state", flat=True)) == {"mapped"}
    assert "PAUSED        Dataverse environment sandbox: most of the records" in sync_status()
    assert "12 of 12 records of app shop at once" in sync_status()
    # Look-ups rest with it: a user whom it seems not to know may be unreadable too.
    world.contact(emailaddress1="new@example.com")
    world.server.launch(installation_id="new", token="token-new", user={"id": "new", "email": "new@example.com"})
    world.app.dataverse.pauses.update(until=timezone.now())
    world.work_for(0.3)
    assert open_pauses(world.app).get().failures == 2
    assert world.server.state("new") == "mapping"
    # Granted again: the next whole re-check ends the pause by itself.
    rows = [{"contactid": id_, "emailaddress1": f"u{n}@example.com"} for n, id_ in enumerate(contacts)]
    world.microsoft.add_records("contacts", rows)
    world.app.dataverse.pauses.update(until=timezone.now())
    world.work_until(lambda: world.server.state("new") == "registered")
    assert not open_pauses(world.app).exists()
    assert world.microsoft.calls("cleanup") == world.microsoft.calls("cleanup_batch") == []


def test_a_person_can_accept_the_loss(world: World) -> None:
    for contact in crowd(world, 12):
        world.microsoft.delete_record("contacts", contact)
    due()
    world.work_for(0.3)
    assert len(world.held()) == 12
    call_command("resume_app", "--app", "shop", stdout=io.StringIO())
    world.work_until(lambda: world.held() == set())
    # Once: a large re-check that loses few arms the fuse again.
    assert DataverseEnvironment.objects.get().losses_accepted_until
    DataverseMapping.objects.update(due_at=timezone.now())
    crowd(world, 12)
    due()
    world.work_for(0.3)
    assert DataverseEnvironment.objects.get().losses_accepted_until is None


def test_resuming_for_another_reason_accepts_nothing(world: World) -> None:
    world.app.dataverse.pauses.create(reason="credentials", until=timezone.now())
    call_command("resume_app", "--app", "shop", stdout=io.StringIO())
    assert DataverseEnvironment.objects.get().losses_accepted_until is None


def test_the_probe_after_another_pause_loses_nobody(world: World) -> None:
    contacts = crowd(world, 12)
    for contact in contacts:
        world.microsoft.delete_record("contacts", contact)
    world.app.dataverse.pauses.create(reason="credentials", until=timezone.now())
    due()
    recheck.run_batch(world.app)
    assert not world.app.dataverse.pauses.exists()
    assert set(DataverseMapping.objects.values_list("state", flat=True)) == {"mapped"}
    recheck.run_batch(world.app)
    assert open_pauses(world.app).get().reason == "mappings_lost"


def test_a_throttled_probe_of_lost_mappings_forgets_nothing(world: World) -> None:
    for contact in crowd(world, 12):
        world.microsoft.delete_record("contacts", contact)
    due()
    recheck.run_batch(world.app)
    world.app.dataverse.pauses.update(until=timezone.now())
    world.microsoft.add_fault("query", status=429, headers={"Retry-After": "1"})
    recheck.run_batch(world.app)
    assert open_pauses(world.app).get().reason == "mappings_lost"


def test_a_few_losses_among_many_are_deletions(world: World, settings: Settings) -> None:
    settings.TOKENHUB_MAPPING_LOSS_MIN = 4
    contacts = crowd(world, 4)
    for contact in contacts[:2]:
        world.microsoft.delete_record("contacts", contact)
    due()
    world.work_until(lambda: len(world.held()) == 2)
    assert not open_pauses(world.app).exists()


@pytest.mark.parametrize(
    ("lost", "checked", "too_many"),
    [
        (9, 9, False),
        (10, 10, True),
        (5, 10, False),
        (6, 10, True),
        (0, 490, False),
        (245, 490, False),
        (246, 490, True),
    ],
)
def test_what_is_too_many(lost: int, checked: int, too_many: bool) -> None:
    assert recheck.loses_too_many(lost, checked, at_least=10, ratio=0.5) is too_many

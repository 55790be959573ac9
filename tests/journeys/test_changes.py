"""Dataverse's change tracking: merges, deletions and new records are seen without waiting for the next re-check."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from registry.models import ChangeFeed, DataverseMapping
from sync import pauses
from sync.clients.dataverse import Changes, DataverseClient
from sync.steps import changes, recheck
from tests.journeys.test_recheck import crowd
from tests.sandbox_process import World, make_world

ANNA = {"id": "anna", "email": "anna@example.com"}


def due() -> None:
    ChangeFeed.objects.update(due_at=timezone.now())


def track(world: World) -> None:
    """Switch change tracking on, and read all records once."""
    world.app.dataverse.change_tracking = True
    world.app.dataverse.save()
    world.work_until(lambda: ChangeFeed.objects.filter(completed_at__isnull=False).count() == 3)


def registered(world: World, record: str) -> bool:
    return world.held() == {(record, "token-1")} and world.server.state() == "registered"


def launch(world: World) -> str:
    """Anna, mapped to a contact and registered, changes being tracked; return the contact."""
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, anna))
    track(world)
    return anna


def test_it_is_off_unless_switched_on(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, anna))
    assert world.microsoft.calls("changes") == []
    assert not ChangeFeed.objects.exists()


def test_a_merge_is_followed_at_once(world: World) -> None:
    anna = launch(world)
    master = world.contact(fullname="Anna")
    world.microsoft.patch_record("contacts", anna, statecode=1, merged=True, _masterid_value=master)
    due()
    world.work_until(lambda: registered(world, master))
    effects = [(effect.kind, effect.user_id) for effect in world.microsoft.effects()]
    assert effects == [("register", anna), ("cleanup", anna), ("register", master)]


def test_a_deletion_is_cleaned_up_at_once(world: World) -> None:
    anna = launch(world)
    world.microsoft.delete_record("contacts", anna)
    due()
    world.work_until(lambda: world.held() == set())
    assert "is not there any more" in world.server.get("devices/phone-1").json()["registration"]["reason"]


def test_deletions_that_are_told_of_do_not_pause_the_environment_however_many(world: World) -> None:
    contacts = crowd(world, 12)
    track(world)
    for contact in contacts:
        world.microsoft.delete_record("contacts", contact)
    due()
    world.work_until(lambda: world.held() == set())
    assert not world.app.dataverse.pauses.exists()
    assert not DataverseMapping.objects.filter(told_deleted=True).exists()


def test_among_losses_that_nobody_told_of_they_alone_are_believed(world: World) -> None:
    contacts = crowd(world, 12)
    track(world)
    world.microsoft.delete_record("contacts", contacts[0])
    due()
    while changes.run_batch(world.app):
        pass
    world.microsoft.add_fault("query", times=None, status=200, body={"value": []})  # and the privilege is withdrawn
    DataverseMapping.objects.update(recheck_at=timezone.now())
    recheck.run_batch(world.app)
    assert DataverseMapping.objects.filter(state="mapped").count() == 11
    pause = world.app.dataverse.pauses.get()
    assert (pause.reason, pause.detail) == ("mappings_lost", "11 of 11 records of app shop at once")


def test_a_deletion_that_was_told_of_ends_no_pause_for_losses(world: World) -> None:
    anna = launch(world)
    pauses.rest_for_losses(world.app.dataverse, "12 of 12 records")
    world.app.dataverse.pauses.update(until=timezone.now())
    world.microsoft.delete_record("contacts", anna)
    DataverseMapping.objects.update(told_deleted=True, recheck_at=timezone.now())
    recheck.run_batch(world.app)
    assert DataverseMapping.objects.get().state == "not_found"
    assert world.app.dataverse.pauses.exists()


def test_a_qualified_lead_is_followed_at_once(world: World) -> None:
    [lead] = world.microsoft.add_records("leads", [{"emailaddress1": "anna@example.com"}])
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, lead))
    track(world)
    contact = world.contact(_originatingleadid_value=lead)
    world.microsoft.patch_record("leads", lead, statecode=1)
    due()
    world.work_until(lambda: registered(world, contact))


def test_a_record_that_changes_and_stays_active_costs_no_re_check(world: World) -> None:
    anna = launch(world)
    before = DataverseMapping.objects.get()
    world.microsoft.patch_record("contacts", anna, fullname="Anna", emailaddress1="other@example.com")
    due()
    world.work_for(0.3)
    after = DataverseMapping.objects.get()
    assert (after.recheck_at, after.claim_no, after.checked_at) == (
        before.recheck_at,
        before.claim_no,
        before.checked_at,
    )
    assert ChangeFeed.objects.get(table="contact").due_at > timezone.now() + timedelta(minutes=9)


@pytest.mark.parametrize(
    ("user", "record"),
    [
        ({"email": "anna@example.com"}, {"emailaddress1": "ANNA@Example.com"}),
        ({"phone": "+4930123456"}, {"mobilephone": "+4930123456"}),
    ],
)
def test_a_user_who_was_not_found_is_looked_up_when_a_record_appears(
    world: World, user: dict[str, str], record: dict[str, str]
) -> None:
    track(world)
    world.server.launch(user={"id": "anna", **user})
    world.server.launch(installation_id="other", token="other", user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.server.state() == world.server.state("other") == "not_found")
    DataverseMapping.objects.update(due_at=timezone.now() + timedelta(days=1))
    anna = world.contact(**record)
    due()
    world.work_until(lambda: registered(world, anna))
    tomorrow = timezone.now() + timedelta(hours=23)
    assert DataverseMapping.objects.filter(user__external_id="bert", due_at__gt=tomorrow).exists()


def test_an_ambiguous_user_is_told_apart_when_one_record_changes(world: World) -> None:
    first, second = (world.contact(emailaddress1="anna@example.com") for _ in range(2))
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.server.state() == "ambiguous")
    track(world)
    world.microsoft.patch_record("contacts", first, statecode=1, merged=True, _masterid_value=second)
    due()
    world.work_until(lambda: registered(world, second))


def test_only_the_users_of_the_same_environment_and_table_are_looked_at(world: World) -> None:
    anna = launch(world)
    elsewhere = type(world.app.dataverse).objects.get()
    elsewhere.pk, elsewhere.name = None, "elsewhere"
    elsewhere.save(force_insert=True)
    other = make_world(world.microsoft, elsewhere, "other")
    other.server.launch(user=ANNA)
    other.work_until(lambda: other.held() == {(anna, "token-1")})
    type(elsewhere).objects.filter(pk=elsewhere.pk).update(change_tracking=False)
    tomorrow = timezone.now() + timedelta(days=1)
    DataverseMapping.objects.update(recheck_at=tomorrow)
    world.microsoft.patch_record("contacts", anna, statecode=1)
    due()
    world.work_until(lambda: world.held() == set())
    assert DataverseMapping.objects.get(user__app=other.app).recheck_at == tomorrow
    assert other.held() == {(anna, "token-1")}


def test_an_expired_link_starts_over_and_loses_no_mapping(world: World) -> None:
    anna = launch(world)
    before = ChangeFeed.objects.get(table="contact")
    world.microsoft.settings(delta_lifetime=0)
    due()
    changes.run_batch(world.app)
    assert not ChangeFeed.objects.get(pk=before.pk).link
    assert "0x80044352" in ChangeFeed.objects.get(pk=before.pk).detail
    world.microsoft.settings(delta_lifetime=86400)
    world.work_until(lambda: ChangeFeed.objects.filter(completed_at__gt=before.completed_at).count() == 3)
    assert ChangeFeed.objects.get(pk=before.pk).detail == ""
    assert registered(world, anna)
    assert DataverseMapping.objects.get().recheck_at > timezone.now() + timedelta(hours=23)
    world.microsoft.delete_record("contacts", anna)
    due()
    world.work_until(lambda: world.held() == set())


def test_a_link_that_fails_beyond_its_life_is_dropped_too(world: World) -> None:
    launch(world)
    world.microsoft.add_fault("changes", status=500)
    ChangeFeed.objects.filter(table="contact").update(
        due_at=timezone.now(), checked_at=timezone.now() - timedelta(days=8)
    )
    changes.run_batch(world.app)
    assert ChangeFeed.objects.get(table="contact").link == ""


def test_a_throttled_reading_rests_the_environment(world: World) -> None:
    anna = launch(world)
    link = ChangeFeed.objects.get(table="contact").link
    world.microsoft.delete_record("contacts", anna)
    world.microsoft.add_fault("changes", status=429, headers={"Retry-After": "600"})
    due()
    seen = world.microsoft.summary()["seq"]
    world.work_for(0.3)
    assert len(world.microsoft.calls("changes", after=seen)) == 1
    pause = world.app.dataverse.pauses.get()
    assert (pause.reason, pause.until > timezone.now() + timedelta(minutes=9)) == ("throttled", True)
    assert ChangeFeed.objects.get(table="contact").link == link
    world.app.dataverse.pauses.update(until=timezone.now())
    due()
    world.work_until(lambda: world.held() == set())
    assert not world.app.dataverse.pauses.exists()


def test_nothing_is_read_while_the_environment_rests(world: World) -> None:
    launch(world)
    world.app.dataverse.pauses.create(reason="throttled", until=timezone.now() + timedelta(minutes=5))
    due()
    seen = world.microsoft.summary()["seq"]
    world.work_for(0.3)
    assert world.microsoft.calls(after=seen) == []


@pytest.mark.parametrize(
    ("how", "said"), [("denied", "0x80040220"), ("refused", "HTTP 400"), ("ignored", "not tracked")]
)
def test_a_table_that_cannot_be_followed_troubles_nobody_else(world: World, how: str, said: str) -> None:
    world.microsoft.settings(change_tracking=how)
    world.app.dataverse.change_tracking = True
    world.app.dataverse.save()
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: registered(world, anna) and ChangeFeed.objects.exclude(detail="").count() == 3)
    assert not world.app.dataverse.pauses.exists()
    for feed in ChangeFeed.objects.all():
        assert said in feed.detail
        assert feed.due_at > timezone.now() + timedelta(minutes=55)
    world.microsoft.settings(change_tracking="on")
    due()
    world.work_until(lambda: ChangeFeed.objects.filter(completed_at__isnull=False, detail="").count() == 3)


def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sync.clients.dataverse.TRACKING",
        {"Accept": "application/json", "Prefer": "odata.track-changes,odata.maxpagesize=2"},
    )


def test_the_first_reading_goes_on_where_it_was_left_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pages(monkeypatch)
    monkeypatch.setattr(changes, "PAGES", 3)
    for _ in range(9):
        world.contact()
    world.app.match = ["contact"]
    world.app.dataverse.change_tracking = True
    assert changes.run_batch(world.app) == 3
    feed = ChangeFeed.objects.get()
    assert (feed.completed_at, feed.started_at is not None, "$skiptoken" in feed.link) == (None, True, True)
    assert changes.run_batch(world.app) == 2
    assert ChangeFeed.objects.get().completed_at
    assert changes.run_batch(world.app) == 0
    assert len(world.microsoft.calls("changes")) == 5


def test_a_killed_worker_s_page_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = launch(world)
    master = world.contact(fullname="Anna")
    world.microsoft.patch_record("contacts", anna, statecode=1, merged=True, _masterid_value=master)

    class KilledError(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    ChangeFeed.objects.filter(table="contact").update(due_at=timezone.now())
    with monkeypatch.context() as patch:
        patch.setattr(changes, "_mark", killed)
        with pytest.raises(KilledError):
            changes.run_batch(world.app)
    assert changes.run_batch(world.app) == 0  # leased
    due()
    world.work_until(lambda: registered(world, master))


def test_a_worker_that_lost_its_lease_moves_no_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    launch(world)
    read = DataverseClient.changes

    def slowly(*arguments: Any) -> Any:
        page = read(*arguments)
        ChangeFeed.objects.filter(table="contact").update(link="another's", claim_no=77)
        return page

    ChangeFeed.objects.filter(table="contact").update(due_at=timezone.now())
    monkeypatch.setattr(DataverseClient, "changes", slowly)
    changes.run_batch(world.app)
    feed = ChangeFeed.objects.get(table="contact")
    assert (feed.link, feed.claim_no) == ("another's", 77)


def test_an_answer_from_before_the_change_does_not_hide_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A re-check that has read the record before its deletion settles after the deletion was told of."""
    anna = launch(world)
    DataverseMapping.objects.update(recheck_at=timezone.now())
    get = DataverseClient.get

    def then_deleted(*arguments: Any) -> Any:
        found = get(*arguments)
        world.microsoft.delete_record("contacts", anna)
        due()
        while changes.run_batch(world.app):
            pass
        return found

    with monkeypatch.context() as patch:
        patch.setattr(DataverseClient, "get", then_deleted)
        recheck.run_batch(world.app)
    world.work_until(lambda: world.held() == set())


def test_apps_of_one_environment_share_its_feeds(world: World) -> None:
    make_world(world.microsoft, world.app.dataverse, "other", match=["contact", "lead"])
    track(world)
    world.work_for(0.3)
    assert len(world.microsoft.calls("changes")) == 3


def gone(id_: object) -> dict[str, Any]:
    return {"@odata.context": "https://contoso/$metadata#contacts/$deletedEntity", "id": id_, "reason": "deleted"}


HOSTILE: list[Any] = [
    [],
    {"value": {}},
    {"value": ["contact"]},
    {"value": [{"contactid": "no id", "statecode": 0}]},
    {"value": [gone(None)]},
    {"value": [{"contactid": "ANNA", "statecode": "1"}]},
    {"value": [{"contactid": "ANNA"}]},
    {"value": [], "@odata.deltaLink": 7},
    {"value": [], "@odata.deltaLink": "https://elsewhere.example/api/data/v9.2/contacts?$deltatoken=1"},
    {"value": [], "@odata.nextLink": "https://["},
    {"value": [], "@odata.nextLink": "SANDBOX/api/\x00"},
    {"value": [], "@odata.nextLink": f"SANDBOX/api/{'a' * 32_768}"},
]


@pytest.mark.parametrize("body", HOSTILE)
def test_an_answer_that_makes_no_sense_moves_nothing(world: World, body: Any) -> None:
    anna = launch(world)
    before = ChangeFeed.objects.get(table="contact")
    if isinstance(body, dict):
        body = {"@odata.deltaLink": before.link, **body}
        body = json.loads(json.dumps(body).replace("SANDBOX", world.microsoft.url).replace("ANNA", anna))
    world.microsoft.add_fault("changes", status=200, body=body)
    ChangeFeed.objects.filter(pk=before.pk).update(due_at=timezone.now())
    assert changes.run_batch(world.app) == 1
    after = ChangeFeed.objects.get(pk=before.pk)
    assert after.link == before.link
    assert registered(world, anna)
    # `[]` counts as the empty answer that is documented for a table in which nothing changed.
    assert bool(after.detail) == (body != [])
    due()
    world.work_until(lambda: ChangeFeed.objects.get(pk=before.pk).detail == "")


def test_text_that_no_store_takes_is_passed_over() -> None:
    values = ["\x00", "\ud800", " ", None, 7, ["a"], " Anna@example.com "]
    rows: dict[uuid.UUID, dict[str, Any]] = {uuid.uuid4(): {"emailaddress1": value} for value in values}
    assert changes._values(Changes({**rows, uuid.uuid4(): {}}, set(), "", more=False), "emailaddress1") == {
        "Anna@example.com"
    }


def test_a_link_to_another_host_gets_no_token(world: World) -> None:
    launch(world)
    for link in ("https://elsewhere.example/api", "https://[", "https://localhost/\n"):
        ChangeFeed.objects.filter(table="contact").update(link=link, due_at=timezone.now())
        seen = world.microsoft.summary()["seq"]
        changes.run_batch(world.app)
        assert "another host" in ChangeFeed.objects.get(table="contact").detail
        assert world.microsoft.calls(after=seen) == []

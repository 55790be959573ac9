"""From the phone's post to what CI-J holds, against the sandbox."""

import uuid
from typing import Any

import pytest

from registry.models import DataverseMapping, Registration
from sync import tasks
from tests.sandbox_process import World, make_world


def test_a_launch_ends_as_a_registration(world: World) -> None:
    anna = world.contact(emailaddress1="Anna@Example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    assert world.server.state() == "mapping"
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}
    [registered] = world.microsoft.calls("register_batch")
    assert registered.status == 202


def test_a_changed_token_replaces_the_old_one(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.mobile.launch()
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    world.mobile.launch(token="token-2")
    world.work_until(lambda: world.held() == {(anna, "token-2")})
    world.work_until(lambda: world.server.state() == "registered")


@pytest.mark.parametrize(
    ("table", "row", "user"),
    [
        ("contacts", {"mobilephone": "+4930123456"}, {"phone": "+49 (30) 123456"}),
        ("leads", {"emailaddress1": "o'neil+push@example.com"}, {"email": "O'Neil+Push@example.com"}),
        ("leads", {"mobilephone": "+4930123456"}, {"email": "nobody@example.com", "phone": "+4930123456"}),
        ("msdynci_customerprofiles", {"msdynci_email": "jürgen@example.com"}, {"email": "jürgen@example.com"}),
        ("msdynci_customerprofiles", {"msdynci_phone": "+4930123456"}, {"phone": "+4930123456"}),
    ],
)
def test_users_are_found_by_table_and_key(world: World, table: str, row: dict[str, str], user: dict[str, str]) -> None:
    [found] = world.microsoft.add_records(table, [row])
    assert world.server.launch(user={"id": "u", **user}).status_code == 201
    world.work_until(lambda: world.held() == {(found, "token-1")})


def test_the_apps_order_of_tables_decides(world: World) -> None:
    contact = world.contact(emailaddress1="anna@example.com")
    [lead] = world.microsoft.add_records("leads", [{"emailaddress1": "anna@example.com"}])
    other = make_world(world.microsoft, world.app.dataverse, "other", match=["lead", "contact"])
    for app in (world, other):
        app.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(contact, "token-1")} and other.held() == {(lead, "token-1")})


def test_several_active_records_are_ambiguous_and_never_guessed(world: World) -> None:
    ids = {world.contact(emailaddress1="anna@example.com") for _ in range(2)}
    world.contact(emailaddress1="anna@example.com", statecode=1)  # inactive: does not count
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "ambiguous")
    assert set(DataverseMapping.objects.get().candidates) == ids
    assert "2 active records" in world.server.get("devices/phone-1").json()["registration"]["reason"]
    assert world.held() == set()


def test_an_unknown_user_is_found_once_their_address_is_corrected(world: World) -> None:
    world.server.launch(user={"id": "anna", "email": "ana@example.com"})
    world.work_until(lambda: world.server.state() == "not_found")
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})


def test_a_user_without_keys_is_not_looked_up(world: World) -> None:
    world.server.launch(user={"id": "anna"})
    world.work_until(lambda: world.server.state() == "not_found")
    assert world.microsoft.calls("query") == []
    assert "neither an e-mail" in world.server.get("devices/phone-1").json()["registration"]["reason"]


def test_when_the_phone_changes_hands_the_old_pair_goes_first(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")})
    effects = [(effect.kind, effect.user_id) for effect in world.microsoft.effects()]
    assert effects == [("register", anna), ("cleanup", anna), ("register", bert)]


def test_users_that_are_one_contact_make_one_registration(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com", mobilephone="+4930123456")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.server.launch(installation_id="tablet", token="token-2", user={"id": "anna-2", "phone": "+4930123456"})
    both = {(anna, "token-1"), (anna, "token-2")}
    world.work_until(lambda: world.held() == both and world.server.state() == "registered")
    world.server.launch(user={"id": "anna-2", "phone": "+4930123456"})
    world.work_for(0.5)
    assert world.server.state() == "registered"
    assert Registration.objects.count() == 2
    assert world.held() == both
    assert world.microsoft.calls("cleanup") == []


@pytest.mark.parametrize("how", ["sign-out", "delete", "opt-out", "no user"])
def test_what_is_no_longer_desired_is_cleaned_up(world: World, how: str) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    if how == "sign-out":
        world.mobile.post("devices/phone-1/sign-out")
    elif how == "delete":
        world.mobile.delete("devices/phone-1")
    elif how == "opt-out":
        world.server.launch(user={"id": "anna", "push_consent": False})
    else:
        world.server.launch(user=None)
    world.work_until(lambda: world.held() == set())
    world.work_until(lambda: Registration.objects.get().state == "retired")
    # Signed in again: registered again.
    world.server.launch(user={"id": "anna", "push_consent": True})
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")


def test_signing_out_before_anything_was_sent_sends_nothing(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.mobile.post("devices/phone-1/sign-out")
    world.work_for(0.5)
    assert world.microsoft.calls("register_batch") == []


def test_both_devices_of_a_user_are_registered(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    user = {"id": "anna", "email": "anna@example.com"}
    world.server.launch(user=user)
    world.server.launch(installation_id="tablet", platform="ios", token="AB" * 32, user=user)
    world.work_until(lambda: world.held() == {(anna, "token-1"), (anna, "ab" * 32)})


def test_one_poison_token_does_not_block_the_others(world: World) -> None:
    users = {f"u{number}": world.contact(emailaddress1=f"u{number}@example.com") for number in range(7)}
    for user in users:
        world.server.launch(
            installation_id=user, token=f"token-{user}", user={"id": user, "email": f"{user}@example.com"}
        )
    # What reaches CI-J is checked at the door; a row from elsewhere shows what one bad item does.
    assert tasks.STEPS["map"]() == 7
    Registration.objects.filter(token="token-u3").update(platform="ios")
    world.work_until(lambda: len(world.held()) == 6)
    world.work_until(lambda: world.server.state("u3") == "failed")
    assert {token for _, token in world.held()} == {f"token-{user}" for user in users if user != "u3"}
    assert not world.app.pauses.exists()


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("DuplicateExists", "registered"),
        ("DryRunSendingFailed", "failed"),
        ("DeviceTokenTooLong", "failed"),
        (["FailedToStoreDevice", "Success"], "registered"),
    ],
)
def test_each_documented_outcome_has_its_state(world: World, reason: str | list[str], state: str) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.microsoft.set_outcomes({"token-1": reason})
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == state)


def test_a_wrong_api_token_pauses_the_app_and_loses_nothing(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.microsoft.put_app(str(world.app.org_id), str(world.app.mobile_app_id), "another-token")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(world.app.pauses.exists)
    assert world.server.state() == "pending"
    world.microsoft.put_app(str(world.app.org_id), str(world.app.mobile_app_id), world.app.api_token)
    Registration.objects.update(undecided_until="2000-01-01T00:00:00Z", due_at="2000-01-01T00:00:00Z")
    world.app.pauses.update(until="2000-01-01T00:00:00Z")
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    assert not world.app.pauses.exists()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("register_batch", {"status": 500}),
        ("register_batch", {"status": 503, "headers": {"Retry-After": "1"}}),
        ("register_batch", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("register_batch", {"drop_connection": "before"}),
        ("register_batch", {"drop_connection": "after"}),
        ("register_batch", {"drop_connection": "middle"}),
        ("register_batch", {"malformed": True}),
        ("status", {"status": 500}),
        ("status", {"malformed": True}),
        ("query", {"status": 500}),
        ("query", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("query", {"malformed": True}),
        ("token", {"status": 500}),
        ("cleanup", {"status": 500}),
        ("cleanup", {"drop_connection": "after"}),
        ("cleanup", {"status": 429, "headers": {"Retry-After": "1"}}),
    ],
)
def test_a_fault_on_the_way_loses_nothing(world: World, kind: str, fault: dict[str, Any]) -> None:
    hand_over_with(world, kind, **fault)


@pytest.mark.parametrize("kind", ["register_batch", "status"])
def test_an_answer_that_leaves_somebody_out_loses_nothing(world: World, kind: str) -> None:
    hand_over_with(world, kind, short_array=True)


def hand_over_with(world: World, kind: str, **fault: Any) -> None:
    """Something goes wrong while Anna's phone becomes Bert's."""
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.microsoft.add_fault(kind, **fault)
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")} and world.server.state() == "registered", 40)
    assert all(fault["used"] for fault in world.microsoft.faults())


def test_the_array_form_of_cleanup_is_given_up_where_it_is_refused(world: World) -> None:
    world.microsoft.settings(batch_cleanup_supported=False)
    users = {f"u{number}": world.contact(emailaddress1=f"u{number}@example.com") for number in range(3)}
    for user in users:
        world.server.launch(
            installation_id=user, token=f"token-{user}", user={"id": user, "email": f"{user}@example.com"}
        )
    world.work_until(lambda: len(world.held()) == 3)
    for user in users:
        world.mobile.delete(f"devices/{user}")
    world.work_until(lambda: world.held() == set())
    world.app.refresh_from_db()
    assert world.app.batch_cleanup is False


def test_opened_notifications_are_relayed_even_without_a_mapping(world: World) -> None:
    world.mobile.launch()
    tracking = [str(uuid.uuid4()) for _ in range(20)]
    world.microsoft.add_fault("event", status=500)
    for tracking_id in tracking:
        world.mobile.post("events", {"installation_id": "phone-1", "tracking_id": tracking_id, "status": "opened"})
    world.work_until(lambda: len(world.microsoft.events()) == 20)
    assert {event.tracking_id for event in world.microsoft.events()} == set(tracking)
    assert {(event.device_token, event.status) for event in world.microsoft.events()} == {("token-1", 1)}

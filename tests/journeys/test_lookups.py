"""Users are looked up in Dataverse: what is asked, what its answers mean, and when it is asked again."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from registry.models import DataverseMapping
from sync import connect
from sync.clients.dataverse import DataverseClient
from sync.steps import map as lookup
from tests.sandbox_process import World, make_world

ANNA = {"id": "anna", "email": "anna@example.com"}


def due() -> None:
    DataverseMapping.objects.update(due_at=timezone.now())


def client(world: World) -> DataverseClient:
    return connect.dataverse(world.app.dataverse)


def test_every_character_of_an_address_is_asked_for_as_it_is(world: World) -> None:
    stored = {
        "o'neil@example.com": "O'NEIL@Example.com",
        "o''neil@example.com": "o''neil@example.com",
        "anna+push@example.com": "Anna+Push@example.com",
        "a&b=c#d%41?/@example.com": "A&b=c#d%41?/@example.com",
        "{x}|~^`$!*@example.com": "{x}|~^`$!*@example.com",
        "jürgen@example.com": "JÜRGEN@example.com",
        "用户@例子.example": "用户@例子.example",
    }
    contacts = dict(zip(stored, world.microsoft.add_records("contacts", rows(list(stored.values()))), strict=True))
    for number, address in enumerate(contacts):
        posted = {"installation_id": f"p{number}", "token": f"token-{number}"}
        assert world.server.launch(**posted, user={"id": f"u{number}", "email": address}).status_code == 201
    expected = {(contact, f"token-{number}") for number, contact in enumerate(contacts.values())}
    world.work_until(lambda: world.held() == expected)


def rows(addresses: list[str]) -> list[dict[str, str]]:
    return [{"emailaddress1": address} for address in addresses]


def test_a_phone_number_s_plus_sign_is_no_blank(world: World) -> None:
    world.contact(mobilephone=" 4930123456")
    anna = world.contact(mobilephone="+4930123456")
    world.server.launch(user={"id": "anna", "phone": "+49 30 123456"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})


@pytest.mark.parametrize(
    ("template", "calls"),
    [
        ("u{}@example.com", 3),  # 499 conditions beside that of the state
        ("{:ü>64}@example.com", 16),  # 32,768 characters of URL
    ],
)
def test_more_users_than_a_query_holds_are_asked_for_in_several(world: World, template: str, calls: int) -> None:
    addresses = [template.format(number) for number in range(1200)]
    world.microsoft.add_records("contacts", rows(addresses))
    found = client(world).find(connect.tables(world.app.dataverse)["contact"], "emailaddress1", addresses)
    assert sorted(record.value for record in found) == sorted(addresses)
    queries = world.microsoft.calls("query")
    assert [call.status for call in queries] == [200] * calls


def test_an_answer_of_several_pages_is_read_to_its_end(world: World) -> None:
    world.microsoft.add_records("contacts", rows(["anna@example.com"] * 5001))
    found = client(world).find(connect.tables(world.app.dataverse)["contact"], "emailaddress1", [ANNA["email"]])
    assert len({record.id for record in found}) == 5001
    assert len(world.microsoft.calls("query")) == 2


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"value": {}},
        {"value": ["anna"]},
        {"value": [{"contactid": "no id", "emailaddress1": "anna@example.com"}]},
        {"value": [{"emailaddress1": "anna@example.com"}]},
        {"value": [], "@odata.nextLink": "https://elsewhere.example/api/data/v9.2/contacts"},
        {"value": [], "@odata.nextLink": "https://["},
        {"value": [], "@odata.nextLink": 7},
    ],
)
def test_an_answer_that_makes_no_sense_says_nothing_of_anybody(world: World, body: Any) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.microsoft.add_fault("query", status=200, body=body)
    world.server.launch(user=ANNA)
    lookup.run_batch(world.app)
    assert DataverseMapping.objects.get().state == "pending"
    due()
    world.work_until(lambda: world.held() == {(anna, "token-1")})


def test_a_value_of_another_type_is_nobody_s(world: World) -> None:
    body = {"value": [{"contactid": "6a2d3b1e-0000-0000-0000-000000000001", "emailaddress1": None}]}
    world.microsoft.add_fault("query", times=None, status=200, body=body)
    world.app.match = ["contact"]
    world.server.launch(user=ANNA)
    lookup.run_batch(world.app)
    assert DataverseMapping.objects.get().state == "not_found"


def test_who_is_not_found_is_looked_up_ever_more_seldom_and_at_once_with_a_new_address(world: World) -> None:
    world.server.launch(user=ANNA)
    waits = settings.TOKENHUB_LOOK_AGAIN
    for wait in [*waits, waits[-1]]:
        due()
        before = timezone.now()
        lookup.run_batch(world.app)
        mapping = DataverseMapping.objects.get()
        assert mapping.due_at
        assert before + wait <= mapping.due_at <= timezone.now() + wait
    assert [wait.total_seconds() for wait in waits] == [30, 120, 600, 3600, 21600, 86400]
    world.server.launch(user={"id": "anna", "phone": "+4930123456"})
    lookup.run_batch(world.app)
    assert DataverseMapping.objects.get().attempts == 1
    anna = world.contact(emailaddress1="new@example.com")
    world.server.launch(user={"id": "anna", "email": "new@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})


def mapped(world: World) -> str:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    return anna


def test_a_mapped_user_whose_new_address_leads_nowhere_stays(world: World) -> None:
    anna = mapped(world)
    world.server.launch(user={"id": "anna", "email": "elsewhere@example.com"})
    world.work_until(lambda: DataverseMapping.objects.get().detail.startswith("No active record matches"))
    assert (DataverseMapping.objects.get().state, world.held()) == ("mapped", {(anna, "token-1")})


def test_a_mapped_user_whose_new_address_is_theirs_and_another_s_stays(world: World) -> None:
    anna = mapped(world)
    world.microsoft.patch_record("contacts", anna, emailaddress1="new@example.com")
    other = world.contact(emailaddress1="new@example.com")
    world.server.launch(user={"id": "anna", "email": "new@example.com"})
    world.work_until(lambda: "The one mapped first is kept." in DataverseMapping.objects.get().detail)
    mapping = DataverseMapping.objects.get()
    assert (mapping.state, set(mapping.candidates)) == ("mapped", {anna, other})
    assert world.held() == {(anna, "token-1")}


def test_a_mapped_user_whose_new_address_is_several_others_is_told_apart_first(world: World) -> None:
    mapped(world)
    others = {world.contact(emailaddress1="new@example.com") for _ in range(2)}
    world.server.launch(user={"id": "anna", "email": "new@example.com"})
    world.work_until(lambda: world.held() == set() and world.server.state() == "ambiguous")
    mapping = DataverseMapping.objects.get()
    assert (set(mapping.candidates), mapping.dataverse_id) == (others, None)
    assert mapping.due_at
    assert mapping.due_at > timezone.now() + timedelta(hours=23)
    # One is left, then none.
    kept, gone = others
    world.microsoft.delete_record("contacts", gone)
    due()
    world.work_until(lambda: world.held() == {(kept, "token-1")})


def test_an_ambiguous_user_of_whom_no_record_is_left_is_not_found(world: World) -> None:
    contacts = [world.contact(emailaddress1="anna@example.com") for _ in range(2)]
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.server.state() == "ambiguous")
    for contact in contacts:
        world.microsoft.patch_record("contacts", contact, statecode=1)
    due()
    world.work_until(lambda: world.server.state() == "not_found")
    assert DataverseMapping.objects.get().candidates == []


def test_one_app_s_throttling_is_everybody_s_pause_for_as_long_as_asked(world: World) -> None:
    other = make_world(world.microsoft, world.app.dataverse, "other")
    anna = mapped(world)
    world.microsoft.add_fault("query", status=429, headers={"Retry-After": "600"})
    for each, name in ((world, "bert"), (other, "bert")):
        each.contact(emailaddress1=f"{each.app}@example.com")
        posted = {"installation_id": name, "token": name}
        each.server.launch(**posted, user={"id": name, "email": f"{each.app}@example.com"})
    DataverseMapping.objects.update(recheck_at=timezone.now())
    seen = world.microsoft.summary()["seq"]
    world.work_for(0.5)
    assert [call.status for call in world.microsoft.calls("query", after=seen)] == [429]
    pause = world.app.dataverse.pauses.get()
    assert pause.reason == "throttled"
    assert 590 < (pause.until - timezone.now()).total_seconds() <= 600
    world.app.dataverse.pauses.update(until=timezone.now())
    world.work_until(lambda: other.server.state("bert") == world.server.state("bert") == "registered")
    assert (anna, "token-1") in world.held()
    assert not world.app.dataverse.pauses.exists()


def test_a_revoked_access_token_is_replaced_at_once_and_pauses_nobody(world: World) -> None:
    mapped(world)
    tokens = len(world.microsoft.calls("token"))
    world.microsoft.revoke_tokens()
    seen = world.microsoft.summary()["seq"]
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")})
    assert [call.status for call in world.microsoft.calls("query", after=seen)][:2] == [401, 200]
    assert len(world.microsoft.calls("token")) == tokens + 1
    assert not world.app.dataverse.pauses.exists()


@pytest.mark.parametrize(("lifetime", "tokens"), [(3600, 1), (200, 3)])  # MSAL asks anew five minutes before the end
def test_an_access_token_is_used_for_as_long_as_it_lives(world: World, lifetime: int, tokens: int) -> None:
    world.microsoft.settings(token_lifetime=lifetime)
    for number in range(3):
        client(world).find(connect.tables(world.app.dataverse)["contact"], "emailaddress1", [f"u{number}@example.com"])
    assert [call.status for call in world.microsoft.calls("query")] == [200] * 3
    assert len(world.microsoft.calls("token")) == tokens


def test_a_wrong_secret_pauses_the_environment_and_loses_no_mapping(world: World) -> None:
    anna = mapped(world)
    environment = world.app.dataverse
    secret = environment.client_secret
    type(environment).objects.filter(pk=environment.pk).update(client_secret="wrong")
    DataverseMapping.objects.update(recheck_at=timezone.now())
    world.work_until(lambda: environment.pauses.filter(reason="credentials").exists())
    assert "invalid_client" in environment.pauses.get().detail
    assert world.held() == {(anna, "token-1")}
    type(environment).objects.filter(pk=environment.pk).update(client_secret=secret)
    environment.pauses.update(until=timezone.now())
    DataverseMapping.objects.update(recheck_at=timezone.now())
    world.work_until(lambda: not environment.pauses.exists())

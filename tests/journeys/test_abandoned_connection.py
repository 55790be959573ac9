"""What waits for a connection that was replaced: erasures, and a person who gives it up."""

import uuid

from django.utils import timezone

from registry.models import Erasure, InteractionEvent, MobileApp, Registration
from registry.services.connections import replace_connection
from registry.states import Step
from sync import tasks
from sync.outbox import claim
from tests.journeys.test_replaced_connection import (
    BERT,
    answers_again,
    held,
    old_id,
    over,
    registered,
    replaced,
    run,
    silent,
)
from tests.races import uncommitted
from tests.sandbox_process import API_TOKEN, World


def test_an_erasure_meanwhile_waits_for_the_old_connection_too(world: World) -> None:
    anna = registered(world)
    silent(world)
    new = replaced(world)
    world.work_until(lambda: held(world, new) == {(anna, "token-1")} and world.server.state() == "registered")
    run("erase_user", "--app", "shop", "--user", "anna")
    world.work_until(lambda: held(world, new) == set())
    Erasure.objects.update(due_at=timezone.now())
    world.work_for(0.5)
    assert Erasure.objects.get().state == "waiting"
    answers_again(world)
    Erasure.objects.update(due_at=timezone.now())
    world.work_until(lambda: Erasure.objects.get().state == "done")
    assert held(world, old_id(world)) == set()
    assert not Registration.objects.exists()
    assert Erasure.objects.get().registrations == 2


def test_one_that_waited_before_goes_on_waiting(world: World) -> None:
    registered(world)
    silent(world)
    run("erase_user", "--app", "shop", "--user", "anna")
    replaced(world)
    world.work_for(0.5)
    assert Erasure.objects.get().state == "waiting"
    answers_again(world)
    Erasure.objects.update(due_at=timezone.now())
    world.work_until(lambda: Erasure.objects.get().state == "done")
    assert held(world, old_id(world)) == set()


def test_an_erasure_while_the_rows_move_waits_for_where_they_go(world: World) -> None:
    registered(world)
    silent(world)
    with uncommitted(lambda: replace_connection(world.app, api_token=API_TOKEN, mobile_app_id=str(uuid.uuid4()))):
        run("erase_user", "--app", "shop", "--user", "anna")
    moved = Registration.objects.get()
    assert (moved.app.slug, moved.erasure) == ("shop~1", Erasure.objects.get())


def test_an_erasure_deletes_what_its_phone_reported_before_the_replacement(world: World) -> None:
    registered(world)
    world.microsoft.add_fault("event", times=None, status=500)
    world.mobile.post("events", {"tracking_id": str(uuid.uuid4()), "status": "opened", "installation_id": "phone-1"})
    replaced(world)
    run("erase_user", "--app", "shop", "--user", "anna")
    assert not InteractionEvent.objects.exists()


def test_an_old_connection_that_is_gone_for_good_is_abandoned(world: World) -> None:
    anna = registered(world)
    clara = world.contact(emailaddress1="clara@example.com")
    clara_is = {"id": "clara", "email": "clara@example.com"}
    world.server.launch(installation_id="phone-2", token="token-2", user=clara_is)
    world.work_until(lambda: world.server.state("phone-2") == "registered")
    world.microsoft.add_fault("event", times=None, status=500)
    world.mobile.post("events", {"tracking_id": str(uuid.uuid4()), "status": "opened", "installation_id": "phone-2"})
    silent(world)
    new = replaced(world)
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user=BERT)
    run("erase_user", "--app", "shop", "--user", "clara")
    world.work_until(lambda: Registration.objects.filter(dataverse_id=bert).exists())
    world.mobile.post("events", {"tracking_id": str(uuid.uuid4()), "status": "opened", "installation_id": "phone-1"})
    InteractionEvent.objects.update(app=MobileApp.objects.get(slug="shop~1"))
    said = run("abandon_connection", "--app", "shop~1", "--note", "its tenant was deleted")
    assert said == "shop~1 abandoned: 2 registrations and 1 events are written off.\n"
    Erasure.objects.update(due_at=timezone.now())
    world.work_until(lambda: held(world, new) == {(bert, "token-1")} and over())
    world.work_until(lambda: Erasure.objects.get().state == "done")
    receipt = Erasure.objects.get()
    assert (receipt.registrations, receipt.not_cleaned_up) == (1, 1)
    assert receipt.note == "shop~1 was abandoned: its tenant was deleted (command line)"
    event = InteractionEvent.objects.get()
    assert (event.state, event.reason, event.due_at) == ("not_relayed", "abandoned", None)
    assert "done since" in (words := run("sync_status", "--app", "shop~1"))
    assert "2 registrations written off: its tenant was deleted (command line)" in words
    # What is written off is not known any more, and stays where it was.
    assert held(world, old_id(world)) == {(anna, "token-1"), (clara, "token-2")}


def test_an_answer_that_comes_after_its_connection_was_abandoned_brings_nothing_back(world: World) -> None:
    registered(world)
    replaced(world)
    old = MobileApp.objects.get(slug="shop~1")
    lease = claim(old, Step.CLEANUP)
    run("abandon_connection", "--app", "shop~1", "--note", "gone")
    assert tasks.STEPS["replace"]() == 1
    world.work_until(lambda: world.server.state() == "registered")
    assert len(lease.rows) == 1
    assert not Registration.objects.filter(app=old).exists()
    assert claim(old, Step.CLEANUP).rows == []

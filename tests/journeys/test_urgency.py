"""Cleanups of hand-overs go ahead of everything else; a platform is corrected by way of a cleanup."""

import pytest
from django.db.models.functions import Now

from registry.crypto import sha256
from registry.models import Device, Registration
from registry.states import Step
from sync import connect, tasks
from sync.steps import plan
from tests.sandbox_process import World


def backlog(world: World, count: int) -> None:
    """Cleanups that wait for longer than whatever comes now, of tokens that no phone has any more."""
    Registration.objects.bulk_create(
        Registration(
            app=world.app,
            table="contact",
            dataverse_id=world.contact(),
            platform="android",
            token=f"old-{number}",
            token_hash=sha256(f"old-{number}"),
            desired=False,
            state="registered",
            maybe_held=True,
            sent_platform="android",
        )
        for number in range(count)
    )


def empty_the_bucket(world: World) -> None:
    bucket = connect.bucket(world.app)
    while not bucket.is_empty():
        bucket.use()
    for _ in range(10 * world.app.requests_per_second):  # and for the next ten seconds
        bucket.use()


def registered(world: World) -> str:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    world.work_until(lambda: world.server.state() == "registered")
    return anna


@pytest.mark.parametrize("how", ["sign-out", "another user", "opt-out"])
def test_a_phone_that_is_in_other_hands_is_cleaned_up_before_a_backlog(world: World, how: str) -> None:
    anna = registered(world)
    backlog(world, 150)
    if how == "sign-out":
        world.mobile.post("devices/phone-1/sign-out")
    elif how == "another user":
        world.server.launch(user={"id": "bert"})
    else:
        world.server.launch(user={"id": "anna", "push_consent": False})
    seen = world.microsoft.summary()["seq"]
    tasks.STEPS["plan"]()
    tasks.STEPS["cleanup"]()
    [first] = world.microsoft.calls("cleanup_batch", after=seen)
    assert (anna, "token-1") in first.items


def test_what_is_not_urgent_waits_its_turn(world: World) -> None:
    anna = registered(world)
    backlog(world, 150)
    world.mobile.launch(token="token-2")  # the old token is dead: nobody reads anything with it
    seen = world.microsoft.summary()["seq"]
    tasks.STEPS["plan"]()
    tasks.STEPS["cleanup"]()
    [first] = world.microsoft.calls("cleanup_batch", after=seen)
    assert (anna, "token-1") not in first.items


def test_a_token_that_waits_for_its_cleanup_already_becomes_urgent_when_somebody_wants_it(world: World) -> None:
    registered(world)
    world.mobile.delete("devices/phone-1")
    plan.run_batch()
    assert not Registration.objects.get().urgent
    world.contact(emailaddress1="bert@example.com")
    world.server.launch(installation_id="phone-2", user={"id": "bert", "email": "bert@example.com"})
    tasks.STEPS["map"]()
    plan.run_batch()
    assert Registration.objects.get(desired=False).urgent


def test_an_urgent_cleanup_does_not_wait_for_an_empty_token_bucket(world: World) -> None:
    registered(world)
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    empty_the_bucket(world)
    backlog(world, 1)
    tasks.STEPS["cleanup"]()
    world.work_until(lambda: not Registration.objects.filter(urgent=True, state="registered").exists(), timeout=1)


def test_without_anything_urgent_an_empty_token_bucket_holds(world: World) -> None:
    backlog(world, 1)
    empty_the_bucket(world)
    tasks.STEPS["cleanup"]()
    assert world.microsoft.calls("cleanup") == []
    assert Registration.objects.get().state == "registered"


def test_known_devices_are_planned_before_a_flood_of_new_ones(world: World) -> None:
    registered(world)
    Device.objects.bulk_create(
        Device(
            app=world.app,
            installation_id=f"new-{number}",
            platform="android",
            token=f"new-{number}",
            token_hash=sha256(f"new-{number}"),
        )
        for number in range(20)
    )
    # Later by its id than all of them.
    known = Device.objects.create(
        app=world.app, installation_id="known", platform="android", token="k", token_hash=sha256("k"),
        revision=2, planned_revision=1,
    )  # fmt: skip
    plan.run_batch(limit=5)
    known.refresh_from_db()
    assert known.planned_revision == 2


def test_the_steps_of_a_hand_over_have_a_queue_of_their_own() -> None:
    assert {"plan", "cleanup"} == {step for step, queue in tasks.QUEUES.items() if queue == "tokenhub.urgent"}


def test_a_corrected_platform_is_cleaned_up_and_registered_anew(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    token = "a" * 32
    user = {"id": "anna", "email": "anna@example.com"}
    world.server.launch(token=token, user=user)
    world.work_until(lambda: world.server.state() == "registered")
    world.server.launch(token=token, platform="ios", user=user)

    def platforms() -> list[str]:
        return [held.platform for held in world.microsoft.held(str(world.app.mobile_app_id))]

    world.work_until(lambda: platforms() == ["ios"])
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, token)}
    assert [effect.kind for effect in world.microsoft.effects()] == ["register", "cleanup", "register"]
    assert Registration.objects.get().due_at is None


def test_a_platform_that_is_corrected_while_it_is_undecided_is_registered_anew(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    token = "a" * 32
    user = {"id": "anna", "email": "anna@example.com"}
    world.server.launch(token=token, user=user)
    world.work_until(lambda: Registration.objects.filter(state="sent").exists())
    world.server.launch(token=token, platform="ios", user=user)
    world.work_until(lambda: [held.platform for held in world.microsoft.held(str(world.app.mobile_app_id))] == ["ios"])
    world.work_until(lambda: not Registration.objects.filter(step=Step.CLEANUP, due_at__lte=Now()).exists())
    assert world.held() == {(anna, token)}

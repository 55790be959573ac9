"""The floor under all marks: what no mark tells of is found and mended all the same."""

from datetime import timedelta
from uuid import uuid4

from registry.models import DataverseMapping, Device, Registration, RollingCheck
from registry.services.clock import now
from sync.steps import check, plan
from tests.sandbox_process import World


def registered(world: World) -> str:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "registered")
    return anna


def mended() -> int:
    RollingCheck.objects.update(due_at=now())
    return check.run_batch()


def test_where_all_is_well_nothing_is_touched(world: World) -> None:
    registered(world)
    assert mended() == 0
    assert Device.objects.get().revision == Device.objects.get().planned_revision


def test_a_lost_desire_is_found(world: World) -> None:
    anna = registered(world)
    Registration.objects.all().delete()
    world.work_for(0.3)
    assert world.server.state() == "pending"
    assert mended() == 1
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}


def test_a_forgotten_desire_is_found(world: World) -> None:
    registered(world)
    Device.objects.update(user=None)  # no mark: as if it had been lost
    assert mended() == 1
    world.work_until(lambda: world.held() == set())


def test_a_user_without_a_mapping_is_looked_up(world: World) -> None:
    anna = registered(world)
    DataverseMapping.objects.all().delete()
    assert mended() == 2  # the mapping, and what was planned with it
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}


def test_registrations_that_wait_for_nothing_go_on(world: World) -> None:
    anna = registered(world)
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    Registration.objects.update(due_at=None)
    world.work_for(0.3)
    assert world.held() == {(anna, "token-1")}
    assert mended() == 1
    world.work_until(lambda: world.held() == set())


def test_every_device_has_its_turn_at_a_pace_that_comes_round_in_a_day(world: World) -> None:
    assert check.pace(10_000_000) == timedelta(days=1) / 10_000
    assert check.pace(5) == timedelta(days=1)
    registered(world)
    first = Device.objects.get()
    mended()
    assert RollingCheck.objects.get().position == 0
    assert RollingCheck.objects.get().due_at > now() + timedelta(hours=23)
    Device.objects.filter(pk=first.pk).update(installation_id=str(uuid4()))
    assert check.run_batch() == 0  # it is not time yet

"""The floor under all marks: what no mark tells of is found and mended all the same."""

from datetime import timedelta

import pytest
from django.db.models import F

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


def test_all_are_looked_at_once_in_a_day() -> None:
    assert check.pace(10_000_000) == timedelta(days=1) / 10_000
    assert check.pace(5) == timedelta(days=1)


def test_a_block_is_looked_at_in_its_time_and_not_before(world: World) -> None:
    registered(world)
    assert mended() == 0
    # Ids go on from test to test: the pace is what follows from this one.
    late = now() + check.pace(Device.objects.get().pk) - RollingCheck.objects.get().due_at
    assert timedelta(0) <= late < timedelta(minutes=1)
    RollingCheck.objects.update(due_at=now() + timedelta(hours=1))
    Device.objects.update(user=None)  # no mark: as if it had been lost
    assert check.run_batch() == 0
    assert mended() == 1


def test_every_device_has_its_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BLOCK", 1)
    registered(world)
    world.server.launch(installation_id="tablet", token="token-2", user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state("tablet") == "registered")
    Device.objects.update(user=None)
    assert [mended(), mended(), mended(), mended()] == [1, 1, 0, 0]
    Device.objects.update(planned_revision=F("revision"))
    assert mended() == 1  # round again, from the first on

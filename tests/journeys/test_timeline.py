"""The timeline of a phone from its first launch on, with every call to CI-J and what came of it."""

from registry.models import Device, Registration
from registry.services import history
from tests.sandbox_process import World


def timeline(world: World) -> list[str]:
    device = Device.objects.select_related("user").get()
    return [line.what for line in reversed(history.timeline(world.app, [device], device.user))]


def said(world: World, start: str, *, more_than: int = 0) -> bool:
    return len([line for line in timeline(world) if line.startswith(start)]) > more_than


def test_every_call_is_told_with_its_outcome(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    world.microsoft.set_outcomes({"token-1": "DryRunSendingFailed"})
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.server.state() == "failed")
    found = timeline(world)
    starts = [
        "First launch (Android), signed in as anna.",
        "Changed hands: anna → bert.",
        f"Mapped to contact {bert}, by e-mail.",
        f"CI-J confirmed the registration for contact {anna[:8]}, ",
        f"CI-J accepted to forget the registration for contact {anna[:8]}.",
        f"CI-J refused the registration for contact {bert[:8]}: DryRunSendingFailed, ",
    ]
    missing = [start for start in starts if not any(line.startswith(start) for line in found)]
    assert not missing, found
    # Asked again and again while it was Pending, and told once: only what came of it.
    assert len([line for line in found if "CI-J" in line]) == 3
    assert "token-1" not in str(found)


def test_a_call_that_fails_and_the_pause_that_follows_are_told(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.microsoft.add_fault("register_batch", status=429, headers={"Retry-After": "1"})
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "registered")
    found = timeline(world)
    assert "Registering in vain: HTTP 429." in found
    assert any("paused since" in line and "Microsoft asked us to wait" in line for line in found)


def test_a_cleanup_that_is_refused_is_told_with_the_refusal(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    for _ in range(10):
        world.microsoft.add_fault("cleanup", status=400)
    world.mobile.delete("devices/phone-1")
    world.work_until(lambda: Registration.objects.get().state == "retired", 40)
    assert said(world, "CI-J was asked to forget")
    assert any("The cleanup was refused: HTTP 400" in line for line in timeline(world))

"""The timeline of a phone from its first launch on: each call to CI-J and what came of it, or that nobody knows yet."""

from registry.models import Device, HistoryEntry, InteractionEvent, Registration
from registry.services import history
from registry.states import HistoryKind
from tests.journeys.test_events import report
from tests.sandbox_process import World


def told(world: World) -> list[str]:
    """The lines, the oldest first."""
    device = Device.objects.select_related("user").get()
    return [line.what for line in reversed(history.timeline(world.app, [device], device.user).lines)]


def test_every_call_is_told_with_its_outcome(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    world.microsoft.set_outcomes({"token-1": "DryRunSendingFailed"})
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.server.state() == "failed")
    found = told(world)
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
    found = told(world)
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
    assert any(line.startswith("CI-J was asked to forget") for line in told(world))
    assert any("The cleanup was refused: HTTP 400" in line for line in told(world))


def test_what_ci_j_accepted_and_has_not_decided_is_told_until_it_has(world: World) -> None:
    world.microsoft.settings(processing_delay=0.5, cleanup_delay=0.05)
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: Registration.objects.filter(request_id__isnull=False).exists())
    request = Registration.objects.get().request_id
    accepted = f"CI-J accepted the registration for contact {anna[:8]}, request {request}, and has not decided yet"
    assert told(world)[-1].startswith(accepted)
    assert not HistoryEntry.objects.filter(kind__gte=HistoryKind.REGISTERED).exists()  # no row for it: it is read
    world.work_until(lambda: world.server.state() == "registered")
    assert told(world)[-1].startswith(f"CI-J confirmed the registration for contact {anna[:8]}")
    assert not any("has not decided yet" in line for line in told(world))


def test_events_are_told_with_what_became_of_them(world: World) -> None:
    rule = world.microsoft.add_fault("event", times=None, status=400)
    report(world)
    assert told(world)[-1] == "A message was opened; CI-J is to be told."
    world.work_until(lambda: InteractionEvent.objects.filter(state="failed").exists())
    assert told(world)[-1].startswith("A message was opened; CI-J did not take it: ")
    world.microsoft.remove_fault(rule)
    report(world)
    world.work_until(lambda: InteractionEvent.objects.filter(state="relayed").exists())
    assert told(world)[-1].startswith("A message was opened; CI-J accepted to hear of it after ")

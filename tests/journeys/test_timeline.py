"""The timeline of Explain tells of every call to CI-J, also while nobody knows yet what became of it."""

from registry.models import Device, HistoryEntry, InteractionEvent, Registration
from registry.services import history
from registry.states import HistoryKind
from tests.journeys.test_events import report
from tests.sandbox_process import World


def told(world: World) -> list[str]:
    """The lines, the oldest first."""
    device = Device.objects.select_related("user").get()
    return [line.what for line in reversed(history.timeline(world.app, [device], device.user).lines)]


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

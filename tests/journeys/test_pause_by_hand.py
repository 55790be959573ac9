"""A person pauses an app, or a platform of it, and resumes it: nothing is sent meanwhile, and nothing is lost."""

from registry.models import HistoryEntry, Pause
from registry.states import HistoryKind
from sync import pauses, waves
from sync.clients.errors import Denied
from tests.sandbox_process import World

APNS = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"


def launched(world: World, name: str, **fields: str) -> str:
    email = f"{name}@example.com"
    record = world.contact(emailaddress1=email)
    world.server.launch(installation_id=name, **{"token": f"token-{name}", **fields}, user={"id": name, "email": email})
    return record


def test_nothing_of_a_paused_app_is_sent_until_it_is_resumed(world: World) -> None:
    anna = launched(world, "anna")
    world.work_until(lambda: world.server.state("anna") == "registered")
    pauses.pause_by_hand(world.app, "olga", "the campaign was wrong")
    sent = len(world.microsoft.calls())
    bert = launched(world, "bert")
    world.server.delete("devices/anna")
    world.work_for(1)
    to_cij = [call for call in world.microsoft.calls()[sent:] if call.kind in ("register", "status", "cleanup")]
    assert to_cij == []
    assert Pause.objects.get().detail == "by olga: the campaign was wrong"
    assert pauses.resume(world.app, "carla")
    world.work_until(lambda: world.held() == {(bert, "token-bert")})
    assert (anna, "token-anna") not in world.held()
    ended = HistoryEntry.objects.get(kind=HistoryKind.PAUSE_ENDED)
    assert ended.by == "carla"


def test_a_call_that_fails_meanwhile_neither_ends_nor_replaces_it(world: World) -> None:
    asked = pauses.gate(world.app, 100)
    pauses.pause_by_hand(world.app, "olga")
    pauses.rest(world.app, Denied("HTTP 401"))
    asked.heed(None)
    assert Pause.objects.get().reason == "by_hand"
    assert pauses.gate(world.app, 100).limit == 0


def test_it_takes_the_place_of_what_the_app_rests_for(world: World) -> None:
    pauses.rest(world.app, Denied("HTTP 401"))
    pauses.pause_by_hand(world.app, "olga")
    assert Pause.objects.get().reason == "by_hand"


def test_a_paused_platform_waits_and_the_other_goes_on(world: World) -> None:
    pauses.pause_by_hand(world.app, "olga", platform="ios")
    iris = launched(world, "iris", platform="ios", token=APNS)
    anna = launched(world, "anna")
    world.work_until(lambda: world.held() == {(anna, "token-anna")})
    world.work_for(0.5)
    assert world.held() == {(anna, "token-anna")}
    assert pauses.resume(world.app, "olga", platform="ios")
    world.work_until(lambda: world.held() == {(anna, "token-anna"), (iris, APNS)})


def test_what_comes_out_meanwhile_does_not_end_the_pause_of_a_platform(world: World) -> None:
    launched(world, "anna")
    world.work_until(lambda: world.server.state("anna") == "registered")
    pauses.pause_by_hand(world.app, "olga", platform="android")
    rows = list(world.app.registrations.all())
    waves.heed(world.app, rows)
    rows[0].state, rows[0].reason = "failed", "DryRunSendingFailed"
    waves.heed(world.app, rows)
    pause = Pause.objects.get()
    assert (pause.reason, pause.failures, pause.platform) == ("by_hand", 1, "android")


def test_resuming_a_platform_leaves_the_app_paused(world: World) -> None:
    pauses.pause_by_hand(world.app, "olga")
    pauses.pause_by_hand(world.app, "olga", platform="ios")
    assert pauses.resume(world.app, platform="ios")
    assert not pauses.resume(world.app, platform="ios")
    assert Pause.objects.get().platform == ""

"""The timeline: every change leaves one line, in the transaction that makes it, and a repeat leaves none."""

from typing import Any

import pytest
from django.db import connection

from registry.models import DataverseMapping, Device, HistoryEntry, MobileApp, MobileUser, Pause, Registration
from registry.services import history
from registry.services.erasure import erase_user, finish
from registry.services.exports import export_user
from registry.states import ErasureState, HistoryKind
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def kinds(**which: Any) -> list[HistoryKind]:
    return [
        HistoryKind(kind) for kind in HistoryEntry.objects.filter(**which).order_by("pk").values_list("kind", flat=True)
    ]


def lines(app: MobileApp) -> list[str]:
    """What the timeline of the one device says, the oldest first."""
    device = Device.objects.select_related("user").get()
    found = history.timeline(app, [device], device.user)
    return [line.what for line in reversed(found.lines)]


def anna(**fields: Any) -> dict[str, Any]:
    return {"id": "anna", "email": "anna@example.com", **fields}


def test_a_launch_that_repeats_what_is_known_leaves_no_line(server: Api) -> None:
    server.launch(user=anna())
    assert kinds() == [HistoryKind.CREATED]
    server.launch(user=anna())
    Device.objects.update(last_seen="2026-01-01T00:00:00Z")  # the next one writes when it was seen, and nothing else
    server.launch(user=anna(), app_version="2.0")
    assert kinds() == [HistoryKind.CREATED]


def test_the_first_launch_tells_who_and_the_end_of_the_token_only(server: Api) -> None:
    server.launch(user=anna(), token="a-very-secret-push-token")
    [entry] = HistoryEntry.objects.all()
    assert (entry.token_end, entry.user, entry.data) == ("-token", MobileUser.objects.get(), {"platform": "android"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(h)::text FROM registry_historyentry h")
        [(row,)] = cursor.fetchall()
    assert "secret" not in row
    assert "anna" not in row


@pytest.mark.django_db(transaction=True)
def test_a_new_token_a_hand_over_and_a_sign_out_each_leave_their_line(app: MobileApp, server: Api) -> None:
    server.launch(user=anna())
    server.launch(user=anna(), token="token-2")
    server.launch(user={"id": "bert"}, token="token-2")
    server.post("devices/phone-1/sign-out")
    server.delete("devices/phone-1")
    server.launch(user=anna(), token="token-2")
    assert lines(app) == [
        "First launch (Android), signed in as anna.",
        "New push token; the one before ended in oken-1.",
        "Changed hands: anna → bert.",
        "Signed out: bert.",
        "Retired: deleted by its app.",
        "Posted again, and lives again.",
        "Signed in: anna.",
    ]


def test_what_a_user_changes_is_told_without_their_addresses(app: MobileApp, server: Api) -> None:
    server.launch(user=anna())
    server.launch(user=anna(email="a@example.com", phone="+4930123456", push_consent=False))
    assert lines(app)[-1] == ("The user changed: another e-mail address, another phone number, opted out of push.")
    assert "example" not in str(list(HistoryEntry.objects.values()))


def test_another_installation_that_takes_the_token_over_is_told_of_both(server: Api) -> None:
    server.launch(user=anna())
    server.launch(installation_id="phone-2", user=anna())
    retired = HistoryEntry.objects.get(kind=HistoryKind.RETIRED)
    assert retired.device == Device.objects.get(installation_id="phone-1")
    assert retired.data == {"reason": "token_moved"}


def test_who_decides_is_written_beside_what_they_decide(app: MobileApp, server: Api) -> None:
    server.launch(user=anna())
    history.acting("carla")
    DataverseMapping.objects.update(state="not_found")
    [entry] = HistoryEntry.objects.filter(kind=HistoryKind.MAPPING_CHANGED)
    assert (entry.by, entry.user) == ("carla", MobileUser.objects.get())


def test_an_attempt_that_is_repeated_is_told_ever_more_rarely(app: MobileApp) -> None:
    row = Registration.objects.create(
        app=app, table="contact", dataverse_id="00000000-0000-0000-0000-000000000001", platform="android",
        token="token-1", token_hash=b"1" * 32,
    )  # fmt: skip
    for attempt in range(1, 21):
        Registration.objects.filter(pk=row.pk).update(attempts=attempt, detail="HTTP 500")
    told = HistoryEntry.objects.filter(kind=HistoryKind.NOT_ANSWERED).order_by("pk")
    assert [entry.data["attempt"] for entry in told if entry.data] == [1, 2, 4, 8, 16]


def test_failures_that_were_only_counted_are_not_told_as_a_pause(app: MobileApp, server: Api) -> None:
    server.launch()
    for reason, failures in (("unavailable", 3), ("unavailable", 10), ("throttled", 1)):
        Pause.objects.create(app=app, reason=reason, failures=failures, until="2026-01-01T00:00:00Z")
        Pause.objects.all().delete()
    Pause.objects.create(environment=app.dataverse, reason="credentials", until="2026-01-01T00:00:00Z")
    Pause.objects.all().delete()
    told = [line for line in lines(app) if "paused" in line]
    assert len(told) == 3
    [of_dataverse] = [line for line in told if line.startswith("Dataverse had been paused since 20")]
    assert of_dataverse.endswith("the credentials are refused.")


def test_an_erasure_leaves_nothing_of_the_user_in_the_history(app: MobileApp, server: Api) -> None:
    server.launch(user=anna())
    server.launch(user={"id": "bert"})  # Anna's phone is Bert's now: what is told of her on it goes too
    server.launch(installation_id="tablet", token="token-2", user=anna())
    DataverseMapping.objects.filter(user__external_id="anna").update(state="not_found")
    user, tablet = MobileUser.objects.get(external_id="anna").pk, Device.objects.get(installation_id="tablet").pk
    erasure = erase_user(app, "anna", "a test")
    assert kinds(user_id=user) == kinds(device_id=tablet) == []
    assert kinds() == [HistoryKind.SIGNED_IN]
    # What happens while CI-J is waited for is deleted at the end.
    HistoryEntry.objects.create(kind=HistoryKind.CLEANED_UP, app=app, device_id=tablet)
    assert finish(erasure, ErasureState.FORCED)
    assert kinds() == [HistoryKind.SIGNED_IN]


def test_an_export_tells_what_happened(server: Api) -> None:
    server.launch(user=anna())
    server.launch(user=anna(), token="token-2")
    found = export_user(MobileUser.objects.get())["history"]
    assert [line["what"] for line in found] == [
        "First launch (Android), signed in as anna.",
        "New push token; the one before ended in oken-1.",
    ]
    assert found[1]["token_end"] == "oken-2"


def test_the_longest_timeline_is_cut_and_goes_on_where_it_was_cut(
    app: MobileApp, server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST", 3)
    server.launch()
    device = Device.objects.get()
    HistoryEntry.objects.bulk_create(
        HistoryEntry(kind=HistoryKind.BACK, app=app, device=device, at=f"2026-01-01T00:00:0{second}Z")
        for second in range(5)
    )
    seconds, earlier = [], None
    for _ in range(3):
        page = history.timeline(app, [device], None, earlier)
        earlier = page.earlier
        seconds += [line.at.second for line in page.lines]
    assert earlier is None
    assert seconds[1:] == [4, 3, 2, 1, 0]


def test_lines_of_one_moment_are_not_lost_where_the_timeline_is_cut(
    app: MobileApp, server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST", 3)
    server.launch(user=anna())
    device = Device.objects.select_related("user").get()
    kinds = (HistoryKind.SIGNED_OUT, HistoryKind.SIGNED_IN, HistoryKind.TOKEN_CHANGED, HistoryKind.BACK)
    for second, kind in ((3, kinds[0]), (3, kinds[1]), (1, kinds[2]), (1, kinds[3])):
        at = f"2026-01-01T00:00:0{second}Z"
        HistoryEntry.objects.create(kind=kind, app=app, device=device, user=device.user, at=at)
    said, earlier = [], None
    for _ in range(3):
        page = history.timeline(app, [device], device.user, earlier)
        earlier = page.earlier
        said.append(sorted(line.what.partition(" ")[0] for line in page.lines))
    assert said == [["First"], ["Changed"], ["New", "Posted"]]

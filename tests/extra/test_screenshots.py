"""The pictures of the documentation, in both themes: `make screenshots` keeps them, every other run only looks.

A small shop, with thirty days behind it, the sandbox as Microsoft's side, and people whose names are made up.
"""

import random
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from registry.models import DayFigures, Device, EventCount, InteractionEvent, MobileApp
from sync import pauses
from tests.extra.browser import DESK, Theme, chromium, shoot
from tests.sandbox_process import World
from tests.web import web_server

pytestmark = pytest.mark.extra
TABLET = "7f" * 32
ENVIRONMENT = {"TOKENHUB_CIJ_HOST_SUFFIXES": "localhost", "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost"}


def history(app: MobileApp, devices: int, seed: int) -> None:
    """A month's figures, as workers would have kept them; the last day is today."""
    chance = random.Random(seed)  # noqa: S311 it draws a picture, and keeps no secret
    for back in range(30):
        share = 1 - back / 90
        now, living = timezone.now() - timedelta(days=back), int(devices * share)
        failed, waiting = int(living * (0.012 + 0.03 * (back in (11, 12)))), int(living * 0.006)
        ios = int(living * 0.44)
        android = living - ios
        quick = chance.randint(300, 420)
        DayFigures.objects.update_or_create(
            app=app,
            day=now.date(),
            defaults={
                "counted_at": now,
                "devices": living,
                "users": int(living * 0.82),
                "mapped": int(living * 0.76),
                "registered_users": int(living * 0.73),
                "opened": int(living * 0.21),
                "registrations": {
                    "ios:registered": int(ios * 0.94) - failed // 3,
                    "android:registered": int(android * 0.91) - failed - waiting,
                    "ios:failed": failed // 3,
                    "android:failed": failed - failed // 3,
                    "android:ready": waiting,
                    "ios:living": ios,
                    "android:living": android,
                },
                "new_devices": int(living * 0.004),
                "token_changes": int(living * (0.006 + 0.004 * chance.random())),
                "waits": {"2": quick, "3": 900, "5": 420, "10": 90, "60": 40 + 60 * (back in (11, 12)), "600": 20},
            },
        )
        EventCount.objects.create(
            app=app,
            day=now.date(),
            relayed=int(living * (0.02 + 0.1 * (back % 7 in (1, 4)) + 0.01 * chance.random())),
        )


@pytest.fixture
def shop(world: World) -> Device:
    """Anna has a phone, and a tablet whose token is refused; of Bert and Carla Dataverse knows several."""
    world.microsoft.set_outcomes({TABLET: "DryRunSendingFailed"})
    people = {"Anna Kowalski": 1, "Bert Lindqvist": 2, "Carla Mendes": 3}
    for name, records in people.items():
        email = f"{name.split()[0].lower()}@contoso.example"
        for number in range(records):
            world.contact(fullname=name, emailaddress1=email, mobilephone=f"+35191000000{number}")
        user = {"id": f"customer-{10400 + len(name)}", "email": email}
        world.server.launch(
            installation_id=f"phone-of-{name.split()[0].lower()}", token=f"fcm-{name.split()[0]}-8QkZ1x", user=user,
            model="Pixel 9", os_version="16", app_version="4.2.0",
        )  # fmt: skip
        if records == 1:
            world.server.launch(
                installation_id="tablet-of-anna", platform="ios", token=TABLET, user=user, model="iPad Air"
            )
    anna = Device.objects.select_related("user").get(installation_id="phone-of-anna")
    assert anna.user
    world.work_until(lambda: world.server.state("tablet-of-anna") == "failed")
    world.work_until(lambda: world.server.state("phone-of-carla") == "ambiguous")
    world.work_until(lambda: world.server.state("phone-of-anna") == "registered")
    world.server.launch(
        installation_id="phone-of-anna", token="fcm-Anna-after-update-Zr7Hw2", user={"id": anna.user.external_id}
    )
    world.work_until(lambda: {token[-6:] for _, token in world.held()} == {"Zr7Hw2"})
    world.work_until(lambda: world.server.state("phone-of-anna") == "registered")
    opened = {"installation_id": "phone-of-anna", "tracking_id": str(uuid.uuid4()), "status": "opened"}
    assert world.server.post("events", [opened]).status_code == 202
    world.work_until(lambda: InteractionEvent.objects.filter(state="relayed").exists())
    history(world.app, 48_200, seed=1)
    pauses.pause_by_hand(world.app, "olga", "its push certificate is renewed today", "ios")
    return anna


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_that_people_open_first(tmp_path: Path, shop: Device, world: World, theme: Theme) -> None:
    chief = User.objects.create_superuser("olga", password="correct-horse-9")
    environment = ENVIRONMENT | {"SSL_CERT_FILE": world.microsoft.ca_file}
    with web_server(tmp_path / "web.log", environment) as url, chromium(url, DESK, theme) as console:
        console.sign_in(chief)
        page = console.open("/admin/")
        page.wait_for_timeout(1200)  # the charts grow
        assert page.locator("canvas").count() == 5
        assert "48,200" in page.content()
        assert "its push certificate is renewed today" in page.content()
        assert console.barriers() == []
        shoot(console, f"overview-{theme}")
        page = console.open("/admin/explain/?q=anna@contoso.example")
        assert "Will receive" in page.content() or "will receive" in page.content()
        assert console.barriers() == []
        shoot(console, f"explain-{theme}")
        page = console.open("/admin/unresolved/")
        assert "Bert Lindqvist" in page.content()
        assert console.barriers() == []
        shoot(console, f"unresolved-{theme}")
        assert console.overflow() <= 0

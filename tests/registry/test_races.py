"""Two posts at the same time: the second waits for the first, and sees what it did."""

import threading

import pytest
from django.db import IntegrityError
from django.db.models import F

from registry.crypto import sha256
from registry.models import Device, MobileApp, MobileUser
from registry.services.locking import in_transaction
from tests.conftest import Api
from tests.races import in_parallel, uncommitted

pytestmark = pytest.mark.django_db(transaction=True)
ANNA = {"id": "anna", "email": "anna@example.com"}


@pytest.fixture
def shop(transactional_db: None, server: Api) -> Api:
    # The key's use is noted now: two posts that both note it would wait for each other at that, and at nothing else.
    server.get("devices/phone-1")
    return server


def test_of_two_first_launches_of_one_installation_the_later_token_stays(shop: Api) -> None:
    with uncommitted(lambda: shop.launch(token="token-1")):
        assert shop.launch(token="token-2").status_code == 200
    assert Device.objects.get().token == "token-2"


def test_of_two_installations_that_post_one_token_the_later_has_it(shop: Api) -> None:
    with uncommitted(lambda: shop.launch(installation_id="phone-1")):
        assert shop.launch(installation_id="phone-2").status_code == 201
    assert Device.objects.get(retired_at=None).installation_id == "phone-2"


def test_a_user_whom_two_phones_name_at_once_is_made_once(shop: Api) -> None:
    with uncommitted(lambda: shop.launch(user=ANNA)):
        assert shop.launch(installation_id="phone-2", token="token-2", user=ANNA).status_code == 201
    assert MobileUser.objects.get().devices.count() == 2


def test_the_database_itself_refuses_two_living_devices_with_one_token(app: MobileApp) -> None:
    def make(name: str) -> None:
        Device.objects.create(app=app, installation_id=name, platform="android", token="t", token_hash=sha256("t"))

    make("phone-1")
    with pytest.raises(IntegrityError, match="device_app_token_unique"):
        make("phone-2")


def test_where_two_transactions_wait_for_each_other_both_come_through(shop: Api) -> None:
    names = ["phone-1", "phone-2"]
    for name in names:
        shop.launch(installation_id=name, token=name)
    met = threading.Barrier(2)

    def work(number: int) -> None:
        attempts = 0

        def change() -> None:
            nonlocal attempts
            attempts += 1
            for place, name in enumerate(names if number else reversed(names)):
                if place == 1 and attempts == 1:
                    met.wait(10)
                Device.objects.filter(installation_id=name).update(revision=F("revision") + 1)

        in_transaction(change)

    assert in_parallel(2, work) == []
    assert set(Device.objects.values_list("revision", flat=True)) == {3}

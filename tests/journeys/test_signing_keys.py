"""The keys that users' tokens are signed with: fetched by workers, from nowhere but where they may be."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_django import Settings

from registry.models import Device, MobileApp, TokenIssuer
from registry.services import clock
from registry.services.token_issuers import set_token_issuer
from registry.states import Identity
from sync import connect, tasks
from sync.alerts import Kind, open_alerts
from sync.clients import jwks
from sync.clients.errors import Refused, Unavailable
from tests.sandbox_process import World

OLD, NEW = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def public(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    entry: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**entry, "kid": kid, "use": "sig"}


def token(key: rsa.RSAPrivateKey, kid: str) -> str:
    now = int(time.time())
    claims = {"iss": "https://login.example", "aud": "shop", "sub": "anna", "iat": now, "exp": now + 300}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})


def post(world: World, key: rsa.RSAPrivateKey, kid: str) -> tuple[int, str]:
    """Post a launch with such a token; return the status, and the result or the problem."""
    answer = world.mobile.launch(user={"token": token(key, kid)})
    body = answer.json()
    return answer.status_code, body.get("result") or body["type"].rpartition(":")[2]


def a_while_passes() -> None:
    """Longer than between two fetches that tokens ask for."""
    TokenIssuer.objects.update(keys_asked_at=clock.now() - timedelta(hours=1))


def fetch() -> TokenIssuer:
    TokenIssuer.objects.update(keys_due_at=clock.now())
    tasks.STEPS["signing_keys"]()
    return TokenIssuer.objects.get()


@pytest.fixture
def issued(world: World, settings: Settings) -> World:
    """The app's users are named by tokens that the sandbox's Entra ID vouches for."""
    settings.TOKENHUB_KEY_CACHE = timedelta(0)
    settings.TOKENHUB_JWKS_PRIVATE_HOSTS = ["localhost"]
    tenant = json.loads((Path(world.microsoft.ca_file).parent / "sandbox.json").read_text())["tenant"]
    MobileApp.objects.update(identity=Identity.JWT)
    url = f"{world.microsoft.url}/{tenant}/discovery/v2.0/keys"
    set_token_issuer(world.app, TokenIssuer(issuer="https://login.example", audience="shop", jwks_url=url))
    world.microsoft.set_signing_keys({"keys": [public(OLD, "old")]})
    return world


def test_a_phone_that_comes_before_the_keys_is_told_to_come_back(issued: World) -> None:
    answer = issued.mobile.launch(user={"token": token(OLD, "old")})
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:tokenhub:problem:signing-keys-unavailable"
    assert int(answer["Retry-After"]) > 0
    assert not Device.objects.exists()
    tasks.STEPS["signing_keys"]()
    assert post(issued, OLD, "old") == (201, "created")


def test_after_a_rotation_the_new_key_is_fetched_and_the_old_one_is_no_good(issued: World) -> None:
    fetch()
    assert post(issued, OLD, "old") == (201, "created")
    issued.microsoft.set_signing_keys({"keys": [public(NEW, "new")]})
    a_while_passes()
    assert post(issued, NEW, "new") == (503, "signing-keys-unavailable")
    tasks.STEPS["signing_keys"]()
    assert post(issued, NEW, "new") == (200, "unchanged")
    assert post(issued, OLD, "old") == (403, "user-token-refused")
    assert post(issued, OLD, "new") == (403, "user-token-refused")


def test_made_up_key_ids_cause_one_fetch_and_not_one_each(issued: World) -> None:
    fetch()
    a_while_passes()
    assert post(issued, NEW, "made-up") == (503, "signing-keys-unavailable")
    tasks.STEPS["signing_keys"]()
    for number in range(5):
        assert post(issued, NEW, f"made-up-{number}") == (403, "user-token-refused")
    assert not TokenIssuer.objects.filter(keys_due_at__lte=clock.now()).exists()


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": [1, "x", {}]}, {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "old"}]}]
)
def test_what_is_no_key_set_replaces_nothing(issued: World, document: dict[str, Any]) -> None:
    fetch()
    issued.microsoft.set_signing_keys(document)
    assert "no usable signing key" in fetch().keys_error
    assert post(issued, OLD, "old") == (201, "created")


def test_keys_for_other_uses_and_weak_ones_are_passed_over(issued: World) -> None:
    weak = public(rsa.generate_private_key(65537, 1024), "weak")  # noqa: S505 it is to be passed over
    issued.microsoft.set_signing_keys({"keys": [{**public(NEW, "new"), "use": "enc"}, weak, public(OLD, "old")]})
    fetch()
    assert post(issued, OLD, "old") == (201, "created")
    assert post(issued, NEW, "new")[0] in (403, 503)


def test_an_address_inside_the_network_is_not_called(issued: World, settings: Settings) -> None:
    settings.TOKENHUB_JWKS_PRIVATE_HOSTS = []
    issuer = fetch()
    assert "not public" in issuer.keys_error
    assert issuer.keys is None
    assert [(alert.kind, alert.subject) for alert in open_alerts()] == [(Kind.SIGNING_KEYS, "app shop")]


def test_a_fetch_that_fails_is_an_alert_when_it_lasts(issued: World) -> None:
    fetch()
    issued.microsoft.set_signing_keys({})
    fetch()
    assert open_alerts() == []
    TokenIssuer.objects.update(keys_failing_since=clock.now() - timedelta(hours=1))
    assert [alert.kind for alert in open_alerts()] == [Kind.SIGNING_KEYS]
    issued.microsoft.set_signing_keys({"keys": [public(OLD, "old")]})
    fetch()
    assert open_alerts() == []


class NoCall:
    """An HTTP client that must not be used."""

    def call(self, *args: Any, **kwargs: Any) -> bytes:
        raise AssertionError("it was called")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.8", "64:ff9b::a00:8", "2002:a00:8::1", "ff02::1"),
        *("224.0.0.1", "240.0.0.1", "::10.0.0.8", "::ffff:0:10.0.0.8", "64:ff9b:1::a00:8", "fec0::1"),
    ],
)
def test_no_private_address_is_public_however_it_is_spelled(address: str) -> None:
    with pytest.raises(Refused, match="not public"):
        jwks.fetch(NoCall(), "https://keys.example/", [], lambda *_: [address])  # type: ignore[arg-type]


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(Refused, match="not public"):
        jwks.fetch(NoCall(), "https://keys.example/", [], lambda *_: ["9.9.9.9", "10.0.0.8"])  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost.", "[::ffff:7f00:1]"])
def test_another_spelling_of_this_host_is_not_called(host: str) -> None:
    with pytest.raises((Refused, Unavailable), match=r"not (public|known)"):
        jwks.fetch(NoCall(), f"https://{host}/", [])  # type: ignore[arg-type]


def test_a_certificate_is_asked_for_each_name_though_both_lie_at_one_address(issued: World) -> None:
    """The connection that is open to one host is not used for another whose keys nobody could trust there."""
    url = TokenIssuer.objects.get().jwks_url
    http = connect.http()
    assert jwks.fetch(http, url, ["localhost"])["keys"]
    elsewhere = url.replace("localhost", "keys.example")
    with pytest.raises(Unavailable):
        jwks.fetch(http, elsewhere, ["keys.example"], lambda *_: jwks.resolve("localhost", 0))


@pytest.mark.parametrize(
    "url",
    [
        *("http://keys.example/", "file:///etc/passwd", "https://", "https://a:b@keys.example/"),
        *("https://keys.example:99999/", "https://[::1/"),
    ],
)
def test_only_https_addresses_are_called(url: str) -> None:
    with pytest.raises(Refused, match="address"):
        jwks.fetch(NoCall(), url, [], lambda *_: ["9.9.9.9"])  # type: ignore[arg-type]


def test_a_name_that_is_not_known_is_tried_again() -> None:
    def unknown(*_: Any) -> list[str]:
        raise OSError("no such host")

    look_up: Callable[..., list[str]] = unknown
    with pytest.raises(Unavailable, match="not known"):
        jwks.fetch(NoCall(), "https://keys.example/", [], look_up)  # type: ignore[arg-type]

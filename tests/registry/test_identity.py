"""Who a phone's user is: whoever cannot prove it names nobody, and what was overtaken changes nothing."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from pytest_django import Settings

from registry.models import Device, MobileApp, MobileUser, TokenIssuer
from registry.services.errors import InvalidInput
from registry.services.keys import create_key
from registry.services.token_issuers import set_token_issuer
from registry.states import Identity
from tests.conftest import Api

SECRET = "a shared secret that is long enough for every algorithm, HS512 as well"
FOREIGN = "another secret that is long enough for every algorithm, HS512 as well"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    encoded: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; None takes one away."""
    now = int(time.time())
    good = {"iss": "https://login.example", "aud": "shop", "sub": "anna", "iat": now, "exp": now + 300, **changes}
    return {name: value for name, value in good.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


def made_by_hand(header: dict[str, Any], key: bytes) -> str:
    """A token with HMAC-SHA256, whatever the header says and the key is: no library would help an attacker so."""

    def spelled(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{spelled(json.dumps(header).encode())}.{spelled(json.dumps(claims()).encode())}"
    return f"{signed}.{spelled(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def says_another_user(signed: str) -> str:
    header, _, signature = signed.split(".")
    return f"{header}.{token(sub='victim').split('.')[1]}.{signature}"


def problem(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def user_of(installation_id: str = "phone-1") -> str | None:
    device = Device.objects.select_related("user").get(installation_id=installation_id)
    return device.user.external_id if device.user else None


@pytest.fixture(autouse=True)
def no_cache(settings: Settings) -> None:
    settings.TOKENHUB_KEY_CACHE = timedelta(0)


@pytest.fixture
def app(make_app: Callable[..., MobileApp]) -> MobileApp:
    """An app whose users are named by tokens with a shared secret."""
    app = make_app(identity=Identity.JWT)
    issue(app, secret=SECRET, algorithms=["HS256"])
    return app


def issue(app: MobileApp, **fields: Any) -> TokenIssuer:
    return set_token_issuer(app, TokenIssuer(**{"issuer": "https://login.example", "audience": "shop", **fields}))


def test_a_good_token_names_its_user(mobile: Api) -> None:
    assert mobile.launch(user={"token": token(), "push_consent": False}).status_code == 201
    assert user_of() == "anna"
    assert not MobileUser.objects.get().push_consent


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_public_keys_prove_it_as_well_and_several_may(app: MobileApp, mobile: Api, key: Any, algorithm: str) -> None:
    issue(app, public_keys=pem(RSA) + pem(EC), algorithms=["RS256", "ES256"])
    assert mobile.launch(user={"token": token(key, algorithm)}).status_code == 201
    assert user_of() == "anna"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: token(FOREIGN), "user-token-refused"),
        (lambda: token(exp=int(time.time()) - 60), "user-token-expired"),
        (lambda: token(nbf=int(time.time()) + 600), "user-token-refused"),
        (lambda: token(iss="https://login.elsewhere"), "user-token-refused"),
        (lambda: token(aud="another-app"), "user-token-refused"),
        (lambda: token(exp=None), "user-token-refused"),
        (lambda: token(aud=None), "user-token-refused"),
        (lambda: token(iss=None), "user-token-refused"),
        (lambda: token(sub=None), "user-token-refused"),
        (lambda: token(algorithm="HS512"), "user-token-refused"),
        (lambda: jwt.encode(claims(), "", algorithm="none"), "user-token-refused"),
        (lambda: made_by_hand({"alg": "None"}, b""), "user-token-refused"),
        (lambda: made_by_hand({"alg": ["HS256"]}, SECRET.encode()), "user-token-refused"),
        (lambda: token()[:-4] + "AAAA", "user-token-refused"),
        (lambda: says_another_user(token()), "user-token-refused"),
        (lambda: token(RSA, "RS256"), "user-token-refused"),
        (lambda: "not a token", "user-token-refused"),
        (lambda: "a.b.c", "user-token-refused"),
        (lambda: "." * 8000, "user-token-refused"),
    ],
)
def test_a_token_that_proves_nothing_changes_nothing(mobile: Api, made: Callable[[], str], why: str) -> None:
    answer = mobile.launch(user={"token": made()})
    assert (answer.status_code, problem(answer)) == (403, why)
    assert answer["Content-Type"] == "application/problem+json"
    assert not Device.objects.exists()
    assert not MobileUser.objects.exists()


def test_a_public_key_is_never_taken_for_a_shared_secret(app: MobileApp, mobile: Api) -> None:
    issue(app, public_keys=pem(RSA), algorithms=["RS256"])
    answer = mobile.launch(user={"token": made_by_hand({"alg": "HS256", "typ": "JWT"}, pem(RSA).encode())})
    assert (answer.status_code, problem(answer)) == (403, "user-token-refused")
    with pytest.raises(InvalidInput, match="HS256"):
        issue(app, public_keys=pem(RSA), algorithms=["RS256", "HS256"])


@pytest.mark.parametrize("header", [{"jwk": {"kty": "oct", "k": "AAAA"}}, {"jku": "https://evil.example/keys"}])
def test_a_token_does_not_bring_its_own_key(mobile: Api, header: dict[str, Any]) -> None:
    forged = jwt.encode(claims(), FOREIGN, algorithm="HS256", headers=header)
    assert problem(mobile.launch(user={"token": forged})) == "user-token-refused"


@pytest.mark.parametrize("subject", ["", "x" * 256, "line\nbreak", " anna", "anna ", "an\ufffda", ["anna"], True])
def test_a_claim_that_is_no_user_id_is_named(mobile: Api, subject: Any) -> None:
    answer = mobile.launch(user={"token": made_with(sub=subject)})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "user.token"
    assert not Device.objects.exists()


def made_with(**changes: Any) -> str:
    """Signed as `token`, but with claims that PyJWT would not sign."""
    payload = json.dumps(claims(**changes)).encode()
    return jwt.api_jws.encode(payload, SECRET, algorithm="HS256")


def test_clocks_may_differ_a_little(mobile: Api) -> None:
    assert mobile.launch(user={"token": token(exp=int(time.time()) - 10)}).status_code == 201


def test_only_verified_addresses_are_followed(app: MobileApp, mobile: Api) -> None:
    unproven = {"email": "victim@example.com", "phone_number": "+4930123456"}
    mobile.launch(user={"token": token(**unproven, email_verified=False)})
    assert (MobileUser.objects.get().email, MobileUser.objects.get().phone) == ("", "")
    mobile.launch(user={"token": token(**unproven, email_verified=True)})
    assert (MobileUser.objects.get().email, MobileUser.objects.get().phone) == ("victim@example.com", "")


def test_an_issuer_that_proves_every_address_need_not_mark_them(app: MobileApp, mobile: Api) -> None:
    issue(app, secret=SECRET, algorithms=["HS256"], trust_unmarked=True)
    mobile.launch(user={"token": token(email="anna@example.com", phone_number="+4930123456")})
    assert (MobileUser.objects.get().email, MobileUser.objects.get().phone) == ("anna@example.com", "+4930123456")
    mobile.launch(user={"token": token(email="victim@example.com", email_verified=False)})
    assert MobileUser.objects.get().email == "anna@example.com"


def test_which_claims_are_read_can_be_set(app: MobileApp, mobile: Api) -> None:
    issue(app, secret=SECRET, algorithms=["HS256"], user_claim="oid", email_claim="mail", trust_unmarked=True)
    mobile.launch(user={"token": token(oid=4711, mail="anna@example.com", email="other@example.com")})
    user = MobileUser.objects.get()
    assert (user.external_id, user.email) == ("4711", "anna@example.com")


def test_a_token_for_one_installation_is_worth_nothing_on_another(app: MobileApp, mobile: Api) -> None:
    issue(app, secret=SECRET, algorithms=["HS256"], installation_claim="installation")
    stolen = token(installation="phone-1")
    assert mobile.launch(user={"token": stolen}).status_code == 201
    assert problem(mobile.launch(installation_id="thief", token="token-2", user={"token": stolen})) == (
        "user-token-refused"
    )
    assert not Device.objects.filter(installation_id="thief").exists()


def test_a_stolen_mobile_key_names_nobody(mobile: Api) -> None:
    answer = mobile.launch(user={"id": "victim"})
    assert (answer.status_code, problem(answer)) == (403, "user-not-allowed")
    for field in ("email", "phone"):
        answer = mobile.launch(user={"token": token(), field: "victim@example.com"})
        assert answer.json()["errors"][0]["field"] == f"user.{field}"
    assert not Device.objects.exists()


def test_a_phone_without_a_user_is_stored_and_not_mapped(mobile: Api) -> None:
    assert mobile.launch().status_code == 201
    assert mobile.state() == "no_user"


def test_where_nobody_signs_tokens_none_is_good(make_app: Callable[..., MobileApp]) -> None:
    phone = Api(create_key(app=make_app("fresh", identity=Identity.JWT), kind="mobile"))
    assert problem(phone.launch(user={"token": token()})) == "user-token-refused"
    assert phone.launch().status_code == 201


def test_leaving_the_user_out_keeps_it_and_null_signs_out(mobile: Api) -> None:
    mobile.launch(user={"token": token()})
    mobile.launch(token="token-2")
    assert user_of() == "anna"
    mobile.launch(user=None)
    assert user_of() is None


def test_a_server_key_names_users_by_their_id(server: Api) -> None:
    assert server.launch(user={"id": "anna", "email": "anna@example.com"}).status_code == 201
    assert user_of() == "anna"


def test_trying_out_needs_no_proof(make_app: Callable[..., MobileApp]) -> None:
    phone = Api(create_key(app=make_app("trial", identity=Identity.UNVERIFIED), kind="mobile"))
    assert phone.launch(user={"id": "anna"}).status_code == 201
    assert user_of() == "anna"


def test_a_token_that_was_used_before_signing_out_brings_nobody_back(mobile: Api) -> None:
    replayed = token()
    mobile.launch(user={"token": replayed})
    assert mobile.post("devices/phone-1/sign-out").json()["result"] == "updated"
    answer = mobile.launch(user={"token": replayed}, app_version="9")
    assert (answer.status_code, answer.json()["result"]) == (200, "stale")
    assert user_of() is None
    assert Device.objects.get().app_version == ""
    assert mobile.launch(user={"token": token(iat=int(time.time()) + 2)}).json()["result"] == "updated"
    assert user_of() == "anna"


def test_of_two_users_tokens_the_one_issued_later_counts(mobile: Api) -> None:
    now = int(time.time())
    mobile.launch(user={"token": token(sub="bert", iat=now)})
    assert mobile.launch(user={"token": token(sub="anna", iat=now - 20)}).json()["result"] == "stale"
    assert user_of() == "bert"


def test_a_launch_that_was_overtaken_changes_nothing(server: Api) -> None:
    server.launch(user={"id": "anna"}, sequence=7)
    assert server.launch(user={"id": "anna"}, sequence=7).json()["result"] == "unchanged"
    assert server.launch(user={"id": "bert"}, token="token-2", sequence=6).json()["result"] == "stale"
    assert user_of() == "anna"
    assert not MobileUser.objects.filter(external_id="bert").exists()
    assert server.post("devices/phone-1/sign-out", {"sequence": 9}).json()["result"] == "updated"
    assert server.launch(user={"id": "anna"}, sequence=8).json()["result"] == "stale"
    assert user_of() is None
    assert server.launch(user={"id": "anna"}, sequence=10).json()["result"] == "updated"
    assert server.post("devices/phone-1/sign-out", {"sequence": 9}).json()["result"] == "stale"
    assert user_of() == "anna"


@pytest.mark.parametrize("sequence", [-1, 2**63, "1", 1.5, True])
def test_a_sequence_is_a_whole_number(server: Api, sequence: Any) -> None:
    assert server.launch(sequence=sequence).json()["errors"][0]["field"] == "sequence"


class Stranger(Api):
    """Knows the mobile key and the installation id, and nothing else."""

    def _proof(self, path: str) -> dict[str, str]:
        return {}


def test_a_leaked_installation_id_takes_nothing_over(app: MobileApp, mobile: Api) -> None:
    mobile.launch(user={"token": token()})
    mobile.launch()  # shows the secret for the first time
    stranger = Stranger(create_key(app=app, kind="mobile"))
    for answer in (
        stranger.launch(),
        stranger.launch(token="token-2"),
        stranger.launch(token="token-2", user=None),
        stranger.get("devices/phone-1"),
        stranger.post("devices/phone-1/sign-out"),
        stranger.delete("devices/phone-1"),
    ):
        assert (answer.status_code, problem(answer)) == (403, "installation-secret")
    device = Device.objects.get()
    assert (device.token, user_of(), device.retired_at) == ("token-1", "anna", None)
    assert mobile.launch().json()["result"] == "unchanged"


def test_where_the_backend_names_users_a_token_posted_by_the_app_does_not(app: MobileApp, mobile: Api) -> None:
    MobileApp.objects.update(identity=Identity.BACKEND)
    answer = mobile.launch(user={"token": token()})
    assert (answer.status_code, problem(answer)) == (403, "user-not-allowed")
    assert not Device.objects.exists()


@pytest.mark.parametrize("policy", ["jwt", "backend"])
def test_whoever_takes_an_installation_that_a_server_made_does_not_take_its_user(
    app: MobileApp, server: Api, policy: str
) -> None:
    MobileApp.objects.update(identity=policy)
    for installation in ("phone-1", "phone-2"):
        made = server.launch(installation_id=installation, token=f"token-of-{installation}", user={"id": "anna"})
        assert made.status_code == 201
    stranger = Stranger(create_key(app=app, kind="mobile"))
    taken = stranger.launch(installation_id="phone-1", token="token-of-a-stranger")
    assert (taken.status_code, taken.json()["result"]) == (200, "updated")
    assert Device.objects.get(installation_id="phone-1").user is None
    own = stranger.launch(installation_id="phone-2", token="token-of-phone-2")
    assert own.json()["installation_secret"]
    kept = Device.objects.get(installation_id="phone-2").user
    assert kept
    assert kept.external_id == "anna"


def test_before_it_is_shown_the_secret_is_not_to_be_had_with_another_token(app: MobileApp, mobile: Api) -> None:
    mobile.launch()
    stranger = Stranger(create_key(app=app, kind="mobile"))
    assert problem(stranger.launch(token="token-2")) == "installation-secret"
    assert Device.objects.get().token == "token-1"


def test_a_lost_answer_is_no_harm(mobile: Api) -> None:
    mobile.launch()
    lost = mobile.secrets.pop("phone-1")
    assert mobile.launch().json()["result"] == "unchanged"
    assert mobile.secrets["phone-1"] != lost
    assert mobile.get("devices/phone-1").status_code == 200
    assert mobile.launch(token="token-2").json()["result"] == "updated"


def test_a_secret_is_kept_as_a_hash_and_handed_out_once(mobile: Api) -> None:
    mobile.launch()
    secret = mobile.secrets["phone-1"]
    assert secret.encode() not in bytes(Device.objects.get().secret_hash)
    assert "installation_secret" not in mobile.launch().json()


def test_server_keys_need_no_secret(mobile: Api, server: Api) -> None:
    mobile.launch()
    assert server.launch(user={"id": "anna"}, token="token-2").json()["result"] == "updated"
    assert server.post("devices/phone-1/sign-out").status_code == 200
    assert server.delete("devices/phone-1").status_code == 204


def test_without_secrets_nobody_keeps_a_user_on_a_token_that_is_not_vouched_for(app: MobileApp, mobile: Api) -> None:
    MobileApp.objects.update(installation_secrets=False)
    assert "installation_secret" not in mobile.launch(user={"token": token()}).json()
    assert mobile.launch().json()["result"] == "unchanged"
    assert user_of() == "anna"
    mobile.launch(token="token-of-a-thief")
    assert user_of() is None


def test_another_apps_key_finds_no_device_of_ours(make_app: Callable[..., MobileApp], mobile: Api) -> None:
    mobile.launch()
    other = Api(create_key(app=make_app("other"), kind="server"))
    assert other.get("devices/phone-1").status_code == 404
    assert other.delete("devices/phone-1").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_boot_checks_name_apps_whose_users_can_be_made_up(
    make_app: Callable[..., MobileApp], capsys: pytest.CaptureFixture[str]
) -> None:
    make_app("trial", identity=Identity.UNVERIFIED)
    make_app("fresh", identity=Identity.JWT)
    make_app("sound", identity=Identity.BACKEND)
    call_command("check", databases=["default"])
    told = capsys.readouterr().err
    assert "App trial: anybody" in told
    assert "App fresh: no phone can name a user" in told
    assert "sound" not in told


def test_the_admin_warns_of_them_too(make_app: Callable[..., MobileApp], admin_client: Any) -> None:
    make_app("trial", identity=Identity.UNVERIFIED)
    assert "App trial: anybody" in admin_client.get("/admin/registry/mobileapp/").content.decode()


def test_the_admin_shows_an_issuer_without_its_secret(app: MobileApp, admin_client: Any) -> None:
    page = admin_client.get(f"/admin/registry/tokenissuer/{app.token_issuer.pk}/change/")
    assert page.status_code == 200
    assert "https://login.example" in page.content.decode()
    assert SECRET not in page.content.decode()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"secret": "short", "algorithms": ["HS256"]}, "secret"),
        ({"secret": SECRET, "algorithms": ["none"]}, "algorithms"),
        ({"secret": SECRET, "algorithms": ["RS256"]}, "algorithms"),
        ({"secret": SECRET, "algorithms": []}, "algorithms"),
        ({"secret": SECRET, "algorithms": ["HS256"], "audience": " "}, "audience"),
        ({"secret": SECRET, "algorithms": ["HS256"], "issuer": ""}, "issuer"),
        ({"secret": SECRET, "jwks_url": "https://login.example/keys"}, "jwks_url"),
        ({}, "jwks_url"),
        ({"jwks_url": "http://login.example/keys"}, "jwks_url"),
        ({"jwks_url": "https://user:password@login.example/keys"}, "jwks_url"),
        ({"jwks_url": "https://[::1/keys"}, "jwks_url"),
        ({"jwks_url": "https://login.example:99999/keys"}, "jwks_url"),
        ({"jwks_url": f"https://login.example/{'x' * 500}"}, "jwks_url"),
        ({"secret": SECRET, "algorithms": ["HS256"], "leeway": 86400}, "leeway"),
        ({"secret": SECRET, "algorithms": ["HS256"], "leeway": -1}, "leeway"),
        ({"secret": SECRET, "algorithms": ["HS256"], "user_claim": ""}, "user_claim"),
        ({"secret": SECRET, "algorithms": ["HS256"], "email_claim": "x" * 129}, "email_claim"),
        ({"public_keys": "rubbish"}, "public_keys"),
        ({"public_keys": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "public_keys"),
    ],
)
def test_an_issuer_that_proves_nobody_is_refused(app: MobileApp, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as error:
        issue(app, **fields)
    assert error.value.field == named


def test_a_short_rsa_key_is_refused(app: MobileApp) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 it is to be refused
    with pytest.raises(InvalidInput, match="2048"):
        issue(app, public_keys=pem(weak), algorithms=["RS256"])

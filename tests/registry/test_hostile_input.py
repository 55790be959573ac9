"""What no phone of ours sends: each gets a clear answer, none a 500."""

import json
from urllib.parse import quote

import pytest

from registry.models import MobileUser
from tests.conftest import Api
from tokenhub.paths import readable_paths

DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * DEEP, 400),
        (b'{"a":' * DEEP, 400),
        (b"\xff\xfe", 400),
        (b"NaN", 400),
        (b'{"sequence": Infinity}', 400),
        (b'{"platform": "ios", "platform": "android"}', 400),
        (b'{"sequence": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 17 + b"]" * 17, 400),
        (b"", 400),
        (b" " * (1024 * 1024 + 1), 413),
        (json.dumps({"platform": "\ud800"}).encode(), 400),
        (json.dumps({"\ud800": 1, "user": {"\ud800": 1}}).encode(), 400),
        (json.dumps({"installation_id": "a", "platform": "ios", "token": "\ud800"}).encode(), 400),
        (
            json.dumps(
                {
                    "installation_id": "a",
                    "platform": "android",
                    "token": "t",
                    "user": {"id": "u", "phone": "+4930111111111111"},
                }
            ).encode(),
            400,
        ),
    ],
)
def test_a_hostile_body_is_refused_with_a_problem(server: Api, body: bytes, status: int) -> None:
    for path in ("devices", "events"):
        response = server.client.post(f"/api/v1/{path}", body, content_type="application/json")
        assert response.status_code == status
        assert response["content-type"] == "application/problem+json"
        response.json()


MANY = {f"{number:x}": 1 for number in range(5000)}
GUID = "3dc07553-4375-4e0f-abc9-defbfc8dedac"
STATUS = f"/api/v1.0/orgs/{GUID}/pushdeviceregistration/devices/status/"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/devices", MANY),
        ("/api/v1/devices", {"x" * 500_000: 1}),
        ("/api/v1/devices", {"installation_id": "a", "token": "t", "platform": "x" * 500_000}),
        ("/api/v1/events", [MANY]),
        ("/api/v1/devices/import", {"devices": [MANY]}),
        (STATUS, {"MobileAppId": GUID, "ApiToken": "x", "RegistrationRequestIds": [1] * 300_000}),
    ],
)
def test_an_answer_does_not_grow_with_the_mistakes_of_a_body(server: Api, path: str, body: object) -> None:
    answer = server.client.post(path, body, format="json")
    assert answer.status_code in (200, 202, 400)
    (told,) = answer.json().get("results", [answer.json()])
    assert 1 <= len(told["errors"]) <= 20
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("name", ["%00", "a%20b", "x" * 129, "%ED%A0%80"])
def test_what_can_be_no_installation_id_is_not_found(server: Api, name: str) -> None:
    assert server.get(f"devices/{name}").status_code == 404
    assert server.delete(f"devices/{name}").status_code == 404
    assert server.post(f"devices/{name}/sign-out").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("get", "/api/", 404, "not-found"),
        ("get", "/api/v1/nothing", 404, "not-found"),
        ("post", "/api/v2/devices", 404, "not-found"),
        ("put", "/api/v1/devices", 405, "method-not-allowed"),
        ("options", "/api/v1/devices", 405, "method-not-allowed"),
    ],
)
def test_where_nothing_is_the_answer_is_a_problem_too(
    server: Api, method: str, path: str, status: int, kind: str
) -> None:
    answer = getattr(server.client, method)(path)
    assert (answer.status_code, answer["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"urn:tokenhub:problem:{kind}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("post", "/api/v1/devices", "POST"),
        ("options", "/api/v1/devices", "POST"),
        ("put", "/api/v1/devices/a", "GET, DELETE, HEAD"),
        ("patch", "/api/v1/users/a", "GET, PUT, DELETE, HEAD"),
        ("options", f"/api/v1.0/orgs/{GUID}/pushdatareceiver/events", "POST"),
    ],
)
def test_what_is_announced_as_allowed_is_answered(server: Api, method: str, path: str, allowed: str) -> None:
    assert getattr(server.client, method)(path)["Allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "devices"), ("post", "events"), ("get", "devices/a"), ("put", "users/a"), ("get", "insight/days.csv")],
)
@pytest.mark.parametrize("query", ["dryrun=1", "format=xml", "%ff="])
def test_a_query_parameter_that_nobody_knows_is_named(server: Api, method: str, path: str, query: str) -> None:
    answer = getattr(server.client, method)(f"/api/v1/{path}?{query}")
    assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")
    (error,) = answer.json()["errors"]
    assert error["field"] == {"%ff=": "\ufffd"}.get(query, query.partition("=")[0])
    assert "is not a query parameter of this request" in error["detail"]


def test_very_many_query_parameters_are_a_problem_too(server: Api) -> None:
    answer = server.client.get(f"/api/v1/devices/a?{'&'.join(MANY)}")
    assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")
    few = server.client.get(f"/api/v1/devices/a?{'&'.join(list(MANY)[:500])}")
    assert (few.status_code, len(few.json()["errors"])) == (400, 20)


@pytest.mark.parametrize("character", ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u0085", "\x7f"])
def test_a_user_id_holds_nothing_that_cannot_be_seen(server: Api, character: str) -> None:
    user_id = f"an{character}na"
    row = {"installation_id": "a", "platform": "android", "token": "t", "user": {"id": user_id}}
    launch = server.launch(user={"id": user_id})
    (imported,) = server.post("devices/import", {"devices": [row]}).json()["results"]
    put = server.client.put(f"/api/v1/users/{quote(user_id)}", {}, format="json")
    for told, field in [(launch.json(), "user.id"), (imported, "user.id"), (put.json(), "user_id")]:
        (error,) = told["errors"]
        assert error["field"] == field
        assert f"holds U+{ord(character):04X}" in error["detail"]
    assert not MobileUser.objects.exists()


@pytest.mark.parametrize("path", ["%FF", "a%C3", "%ED%A0%80"])
def test_a_user_id_that_is_no_utf_8_is_nobody_s(server: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    django = server.client.handler
    monkeypatch.setattr(
        server.client, "handler", lambda environ: readable_paths(lambda same, _: django(same))(environ, None)
    )
    assert server.client.put(f"/api/v1/users/{quote(path)}", {}, format="json").json()["id"] == path
    for method in ("put", "get", "delete"):
        answer = getattr(server.client, method)(f"/api/v1/users/{path}")
        assert answer.status_code == 400
        assert answer.json()["errors"][0] == {
            "field": "user_id",
            "detail": "holds U+FFFD, which stands for what is no UTF-8.",
        }
    assert MobileUser.objects.count() == 1


def test_other_bodies_and_answers_than_json_are_refused_with_a_problem(server: Api) -> None:
    form = server.client.post("/api/v1/devices", {"a": 1}, format="multipart")
    assert (form.status_code, form.json()["type"]) == (415, "urn:tokenhub:problem:unsupported-media-type")
    xml = server.client.get("/api/v1/devices/a", HTTP_ACCEPT="text/xml")
    assert (xml.status_code, xml.json()["type"]) == (406, "urn:tokenhub:problem:not-acceptable")


def test_a_mistake_of_ours_is_a_problem_that_tells_nothing(
    server: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the token is hunter2")

    monkeypatch.setattr("registry.api.views.record_launch", broken)
    server.client.raise_request_exception = False
    answer = server.launch(token="hunter3")
    assert (answer.status_code, answer["content-type"]) == (500, "application/problem+json")
    assert answer.json()["type"] == "urn:tokenhub:problem:internal-error"
    assert "hunter" not in answer.content.decode()
    assert "hunter3" not in caplog.text


@pytest.mark.parametrize(
    ("platform", "token", "said"),
    [
        ("android", "dQw4w9WgXcQ_-abcdefghi", "is a Firebase installation id."),
        ("android", "ab" * 32, "looks like an APNs token, which is one of platform 'ios'."),
        ("android", "a b", "is not an FCM token (1 to 300 characters, no blanks)."),
        ("android", "x" * 301, "is not an FCM token (1 to 300 characters, no blanks)."),
        ("ios", "dQw4w9WgXcQ_-abcdefghi", "It is a Firebase installation id."),
        ("ios", "dQw4w9WgXcQ_-abcdefghi:APA91b" + "x" * 134, "It is Firebase's own token (FCM)"),
        ("ios", "a" * 65, "is not a raw APNs token (hex, at most 64 characters)."),
        ("ios", "xyz", "is not a raw APNs token (hex, at most 64 characters)."),
    ],
)
def test_what_is_no_token_of_the_platform_is_explained(server: Api, platform: str, token: str, said: str) -> None:
    answer = server.launch(platform=platform, token=token)
    assert answer.status_code == 400
    assert said in answer.json()["errors"][0]["detail"]
    assert token not in answer.content.decode()

"""What no phone of ours sends: each gets a clear answer, none a 500."""

import json

import pytest

from tests.conftest import Api

DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * DEEP, 400),
        (b'{"a":' * DEEP, 400),
        (b"\xff\xfe", 400),
        (b"NaN", 400),
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


@pytest.mark.parametrize("name", ["%00", "a%20b", "x" * 129, "%ED%A0%80"])
def test_what_can_be_no_installation_id_is_not_found(server: Api, name: str) -> None:
    assert server.get(f"devices/{name}").status_code == 404
    assert server.delete(f"devices/{name}").status_code == 404
    assert server.post(f"devices/{name}/sign-out").status_code == 404

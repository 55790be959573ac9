"""Signing in."""

import time
from typing import Any

import httpx2
import msal
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import Running

WHO_AM_I = "/api/data/v9.2/WhoAmI"


def form(running: Running, **changes: str) -> dict[str, str]:
    details = running.details
    return {
        "grant_type": "client_credentials",
        "client_id": details["client_id"],
        "client_secret": details["client_secret"],
        "scope": f"{details['url']}/.default",
    } | changes


def ask(running: Running, client: httpx2.Client, **changes: str) -> httpx2.Response:
    return client.post(f"/{running.details['tenant']}/oauth2/v2.0/token", data=form(running, **changes))


def test_msal_signs_in_unchanged(running: Running, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # `requests` prefers these two to the CA file that its caller names.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    details = running.details
    app = msal.ConfidentialClientApplication(
        details["client_id"],
        client_credential=details["client_secret"],
        authority=f"{details['url']}/{details['tenant']}",
        verify=details["ca_file"],
        instance_discovery=False,
    )
    result: dict[str, Any] = app.acquire_token_for_client([f"{details['url']}/.default"])
    assert result["expires_in"] == 3600
    answer = client.get(WHO_AM_I, headers={"Authorization": f"Bearer {result['access_token']}"})
    assert answer.json()["UserId"] == details["client_id"]
    app.http_client.close()


def test_a_wrong_secret_is_an_invalid_client(running: Running, client: httpx2.Client) -> None:
    answer = ask(running, client, client_secret="wrong")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_codes"] == [7000215]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, "unauthorized_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "https://localhost/.default"}, "invalid_resource"),
        ({"scope": "https://contoso.crm4.dynamics.com/.default"}, "invalid_resource"),
        ({"scope": "openid"}, "invalid_scope"),
    ],
)
def test_a_bad_request_for_a_token_is_refused(
    running: Running, client: httpx2.Client, changes: dict[str, str], error: str
) -> None:
    answer = ask(running, client, **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_tenant_that_is_not_there_has_no_discovery(client: httpx2.Client) -> None:
    answer = client.get("/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_tenant")


def test_a_token_expires_when_it_says(running: Running, client: httpx2.Client, admin: SandboxAdmin) -> None:
    admin.settings(token_lifetime=1)
    token = ask(running, client).json()
    assert token["expires_in"] == 1
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert client.get(WHO_AM_I, headers=bearer).status_code == 200
    time.sleep(1.1)
    assert client.get(WHO_AM_I, headers=bearer).status_code == 401


def test_revoked_tokens_are_refused_and_new_ones_work(
    running: Running, client: httpx2.Client, admin: SandboxAdmin
) -> None:
    old = {"Authorization": f"Bearer {ask(running, client).json()['access_token']}"}
    admin.revoke_tokens()
    new = {"Authorization": f"Bearer {ask(running, client).json()['access_token']}"}
    assert client.get(WHO_AM_I, headers=old).status_code == 401
    assert client.get(WHO_AM_I, headers=new).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Bearer 9999999999.0.x.y", "Basic abc"])
def test_without_a_token_of_ours_dataverse_is_closed(client: httpx2.Client, header: str) -> None:
    answer = client.get(WHO_AM_I, headers={"Authorization": header})
    assert answer.status_code == 401
    assert "authorization_uri=" in answer.headers["www-authenticate"]

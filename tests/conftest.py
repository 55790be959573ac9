"""What most tests need: an app with its keys, and a client that speaks the ingest API."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from rest_framework.test import APIClient

from registry.models import DataverseEnvironment, MobileApp
from registry.services import limits
from registry.services.apps import create_app, create_dataverse
from registry.services.keys import create_key
from registry.services.valkey import valkey
from registry.states import Identity


class QuickHasher(PBKDF2PasswordHasher):
    """Django's own, without the half second that each password is to cost. The default hasher reads what it made."""

    iterations = 1


def pytest_configure() -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.QuickHasher"]


@pytest.fixture
def environment(db: None) -> DataverseEnvironment:
    return create_dataverse(
        name="contoso",
        url="https://contoso.crm4.dynamics.com",
        tenant="contoso.onmicrosoft.com",
        client_id=str(uuid.uuid4()),
        client_secret="s3cret",
    )


@pytest.fixture
def make_app(environment: DataverseEnvironment) -> Callable[..., MobileApp]:
    def make(slug: str = "shop", **fields: Any) -> MobileApp:
        defaults = {
            "name": slug.title(),
            "org_id": uuid.uuid4(),
            "mobile_app_id": uuid.uuid4(),
            "endpoint": "public-eur.mkt.dynamics.com",
            "api_token": "an-api-token",
            "dataverse": environment,
            "identity": Identity.BACKEND,
        }
        return create_app(slug=slug, **{**defaults, **fields})

    return make


@pytest.fixture
def app(make_app: Callable[..., MobileApp]) -> MobileApp:
    return make_app()


class Api:
    """The ingest API as a client with one key sees it. Answers are test responses, whose type is not public."""

    def __init__(self, key: str = "") -> None:
        self.client = APIClient()
        self.secrets: dict[str, str] = {}  # of the installations, as a phone keeps its own
        if key:
            self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")

    def trace(self, trace_id: str) -> None:
        """What is posted from now on belongs to this trace."""
        headers = self.client._credentials  # type: ignore[attr-defined]
        self.client.credentials(**{**headers, "HTTP_TRACEPARENT": f"00-{trace_id}-b7ad6b7169203331-01"})

    def launch(self, **fields: Any) -> Any:
        """Post a launch; what is not given is an Android phone of nobody's."""
        body = {"installation_id": "phone-1", "platform": "android", "token": "token-1", **fields}
        answer = self.client.post("/api/v1/devices", body, format="json", headers=self._proof(body["installation_id"]))
        if answer.status_code in (200, 201) and "installation_secret" in answer.json():
            self.secrets[body["installation_id"]] = answer.json()["installation_secret"]
        return answer

    def state(self, installation_id: str = "phone-1") -> str:
        body = self.get(f"devices/{installation_id}").json()
        return str(body["registration"]["state"])

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self._proof(path))

    def post(self, path: str, body: Any = None) -> Any:
        events = body if isinstance(body, list) else [body]
        named = (
            events[0].get("installation_id", "")
            if path == "events" and events and isinstance(events[0], dict)
            else path
        )
        return self.client.post(f"/api/v1/{path}", body, format="json", headers=self._proof(named))

    def delete(self, path: str) -> Any:
        return self.client.delete(f"/api/v1/{path}", headers=self._proof(path))

    def _proof(self, path: str) -> dict[str, str]:
        installation = path.removeprefix("devices/").partition("/")[0]
        return {"Installation-Secret": self.secrets[installation]} if installation in self.secrets else {}


@pytest.fixture
def new_minute() -> Iterator[None]:
    """Nothing is counted against any limit yet."""
    limits._meter = limits._Meter()
    for key in valkey().scan_iter("tokenhub:limit:*"):
        valkey().delete(key)
    yield
    limits._meter = limits._Meter()


@pytest.fixture
def server(app: MobileApp) -> Api:
    """The customer's server: may name users."""
    return Api(create_key(app=app, kind="server"))


@pytest.fixture
def mobile(app: MobileApp) -> Api:
    """The mobile app itself."""
    return Api(create_key(app=app, kind="mobile"))

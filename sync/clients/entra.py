"""Sign-in to Dataverse with Entra ID client credentials, through Microsoft's own library."""

import os
import threading
import time
import uuid
from typing import Any

import msal
import requests

from sync.clients.calls import OTHER, Call, Made, Observe, carried
from sync.clients.errors import Denied, RemoteError, Unavailable

TIMEOUT = 10.0  # seconds, for each of msal's requests


class _Session(requests.Session):
    """What msal speaks HTTP with. SSL_CERT_FILE decides which CAs are trusted here, as it does for our own client;
    left alone, requests would look at REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE only."""

    request_id = uuid.UUID(int=0)  # of the sign-in

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        settings = super().merge_environment_settings(*args, **kwargs)
        if bundle := os.environ.get("SSL_CERT_FILE"):
            settings["verify"] = bundle
        return settings

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "client-request-id": str(self.request_id)}
        return super().request(*args, **{"timeout": TIMEOUT, **kwargs})


class Credentials:
    """Access tokens of one application. msal caches them and renews them in time; one instance per process."""

    def __init__(
        self,
        *,
        authority: str,
        tenant: str,
        client_id: str,
        client_secret: str,
        resource: str,
        call: Call = OTHER,
        observe: Observe | None = None,
    ) -> None:
        """`observe` is told of each sign-in, as the call `call`; a token that is still good needs none."""
        self._authority = f"{authority}/{tenant}"
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = f"{resource}/.default"
        self._call = call
        self._observe = observe
        self._lock = threading.Lock()
        self._session = _Session()
        self._application: msal.ConfidentialClientApplication | None = None

    def token(self) -> str:
        """A bearer token for the resource. Raises Denied or Unavailable."""
        with self._lock:
            self._session.request_id = uuid.uuid4()
            began = time.perf_counter()
            try:
                token, kept = self._acquire()
            except RemoteError as error:
                self._tell(began, type(error).__name__.lower(), str(error))
                raise
            if not kept:
                self._tell(began, "ok")
            return token

    def _acquire(self) -> tuple[str, bool]:
        """The token, and whether msal had kept it."""
        try:
            answer = self._app().acquire_token_for_client(scopes=[self._scope])
        except (requests.RequestException, msal.exceptions.MsalError, ValueError, KeyError) as error:
            # An authority that does not answer as it should shows as any of these.
            raise Unavailable(f"Entra sign-in: {type(error).__name__}") from None
        if isinstance(answer, dict) and isinstance(token := answer.get("access_token"), str):
            return token, answer.get("token_source") == "cache"
        code = answer.get("error", "no token") if isinstance(answer, dict) else "no token"
        raise Denied(f"Entra sign-in: {code}")

    def _tell(self, began: float, outcome: str, detail: str = "") -> None:
        if self._observe:
            seconds = time.perf_counter() - began
            self._observe(Made(self._call, self._session.request_id, carried(), outcome, seconds, detail))

    def forget(self) -> None:
        """Drop the cached token: Dataverse has refused it."""
        with self._lock:
            self._application = None

    def _app(self) -> msal.ConfidentialClientApplication:
        # Made on first use: the constructor asks the authority for its OpenID configuration.
        if self._application is None:
            self._application = msal.ConfidentialClientApplication(
                self._client_id,
                client_credential=self._client_secret,
                authority=self._authority,
                # Sovereign clouds and test authorities are not in Microsoft's public list.
                instance_discovery=False,
                http_client=self._session,
            )
        return self._application

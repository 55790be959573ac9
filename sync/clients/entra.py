"""Sign-in to Dataverse with Entra ID client credentials, through Microsoft's own library."""

import os
import threading
from typing import Any

import msal
import requests

from sync.clients.errors import Denied, Unavailable

TIMEOUT = 10.0  # seconds, for each of msal's requests


class _Session(requests.Session):
    """What msal speaks HTTP with. SSL_CERT_FILE decides which CAs are trusted here, as it does for our own client;
    left alone, requests would look at REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE only."""

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        settings = super().merge_environment_settings(*args, **kwargs)
        if bundle := os.environ.get("SSL_CERT_FILE"):
            settings["verify"] = bundle
        return settings

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(*args, **{"timeout": TIMEOUT, **kwargs})


class Credentials:
    """Access tokens of one application. msal caches them and renews them in time; one instance per process."""

    def __init__(self, *, authority: str, tenant: str, client_id: str, client_secret: str, resource: str) -> None:
        self._authority = f"{authority}/{tenant}"
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = f"{resource}/.default"
        self._lock = threading.Lock()
        self._application: msal.ConfidentialClientApplication | None = None

    def token(self) -> str:
        """A bearer token for the resource. Raises Denied or Unavailable."""
        with self._lock:
            try:
                answer = self._app().acquire_token_for_client(scopes=[self._scope])
            except (requests.RequestException, msal.exceptions.MsalError, ValueError, KeyError) as error:
                # An authority that does not answer as it should shows as any of these.
                raise Unavailable(f"Entra sign-in: {type(error).__name__}") from None
        if isinstance(answer, dict) and isinstance(token := answer.get("access_token"), str):
            return token
        code = answer.get("error", "no token") if isinstance(answer, dict) else "no token"
        raise Denied(f"Entra sign-in: {code}")

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
                http_client=_Session(),
            )
        return self._application

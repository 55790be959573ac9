"""Runs `python -m sandbox` as its users do, and speaks to it as a client of Microsoft's would."""

import json
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from sandbox.admin_client import SandboxAdmin

ROOT = Path(__file__).parent.parent.parent
DEVICE = "token-1"
TRACKED = {"x-ms-track-registration": "true"}


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sandbox", "--data", str(folder), *more]


class Running:
    """A sandbox process on `folder`; its output goes to `folder/output.log`."""

    def __init__(self, folder: Path, *more: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.log = folder / "output.log"
        (folder / "sandbox.json").unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command(folder, *more), stdout=output, stderr=output, cwd=ROOT)
        ends = time.monotonic() + 30
        while not (folder / "sandbox.json").exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends, "the sandbox did not become ready"
            time.sleep(0.02)

    @property
    def details(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "sandbox.json").read_text())
        return content

    def admin(self) -> SandboxAdmin:
        return SandboxAdmin.from_file(self.folder / "sandbox.json")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(15)


def https(details: Mapping[str, Any]) -> httpx2.Client:
    context = ssl.create_default_context(cafile=details["ca_file"])
    return httpx2.Client(base_url=details["url"], verify=context, trust_env=False)


@dataclass
class Push:
    """A configured app, and the calls that its owner's server makes."""

    client: httpx2.Client
    admin: SandboxAdmin
    org: str
    app: str
    api_token: str = "the-api-token"

    def path(self, name: str) -> str:
        return f"/api/v1.0/orgs/{self.org}/pushdeviceregistration/{name}"

    def post(self, name: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        return self.client.post(self.path(name), json=body, headers=headers)

    def device(self, token: str | None = DEVICE, user: str | None = None, **other: Any) -> dict[str, Any]:
        body = {"MobileAppId": self.app, "UserId": user or str(uuid.uuid4()), "ApiToken": self.api_token}
        if token is not None:
            body["FcmDeviceToken"] = token
        return body | other

    def register(self, *devices: dict[str, Any], headers: Mapping[str, str] = TRACKED) -> list[str]:
        answer = self.post("devices/batch", list(devices), headers)
        assert answer.status_code == 202, answer.text
        return [item["RegistrationRequestId"] for item in answer.json()] if answer.content else []

    def ask(self, *ids: str) -> list[tuple[str, str | None]]:
        body = {"RegistrationRequestIds": list(ids), "MobileAppId": self.app, "ApiToken": self.api_token}
        answer = self.post("devices/status/", body)
        assert answer.status_code == 200, answer.text
        return [(item["Status"], item["FailureReason"]) for item in answer.json()]

    def cleanup(self, user: str, token: str | None = None, **other: Any) -> dict[str, Any]:
        body = {"MobileAppId": self.app, "UserId": user, "ApiToken": self.api_token}
        return body | ({"DeviceToken": token} if token else {}) | other

    def held(self) -> set[tuple[str, str]]:
        return {(held.user_id, held.token) for held in self.admin.held(self.app)}

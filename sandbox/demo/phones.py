"""A simulated phone: what it does is told to tokenhub, and then to the model."""

import asyncio
import random
import string
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from sandbox.demo.api import Api
from sandbox.demo.model import Model
from sandbox.demo.people import Person

_FCM_ALPHABET = string.ascii_letters + string.digits + "-_"
WAIT_FOR_REGISTRATION = 15.0
POLL = 1.0


def new_token(rng: random.Random, platform: str) -> str:
    """A token as the platform's push service makes them."""
    if platform == "ios":
        return f"{rng.getrandbits(256):064x}"
    letters = "".join(rng.choices(_FCM_ALPHABET, k=rng.randint(120, 160)))
    return f"{letters[:22]}:APA91b{letters[22:]}"


class Phone:
    """One installation of the app."""

    def __init__(self, api: Api, model: Model, rng: random.Random, name: str, pace: float) -> None:
        self._api = api
        self._model = model
        self._pace = pace
        self.rng = rng
        self.name = name
        self.platform = rng.choice(["ios", "android"])
        self.token = new_token(rng, self.platform)
        self.surprises: list[str] = []

    async def pause(self, longest: float) -> None:
        """Think for up to `longest` seconds."""
        await asyncio.sleep(self.rng.random() * longest * self._pace)

    async def launch(self, person: Person | None, **consents: bool) -> str:
        """The app's server reports a launch, with the user signed in (None: nobody). Returns what it changed."""
        user = {**person.as_json(), **consents} if person else None
        return await self._post(user, as_server=True)

    async def refresh(self) -> str:
        """The app itself reports a launch; it cannot say who is signed in, so that stays as it was."""
        return await self._post(None, as_server=False)

    async def launch_at_once(self, person: Person, times: int) -> None:
        """The same launch several times in parallel, as impatient networking code does it."""
        results = await asyncio.gather(*[self.launch(person) for _ in range(times)])
        if results.count("created") > 1:
            self.surprises.append(f"{self.name}: created {results.count('created')} times")

    async def change_token(self) -> None:
        """The push service gives the app another token; the app reports it."""
        await self.prove()
        self.token = new_token(self.rng, self.platform)
        await self.refresh()

    async def prove(self) -> None:
        """Have the installation's secret, as an app has that posts itself with the token that is known.

        Or else a new token might be anybody's, and would sign the user out.
        """
        if not self._api.is_secured(self.name):
            await self.refresh()

    async def sign_out(self) -> None:
        """The user signs out."""
        self._model.sign_out(self.name, await self._api.sign_out(self.name))

    async def delete(self) -> None:
        """The app is removed."""
        self._model.delete(self.name, await self._api.delete(self.name))

    async def open_notification(self, *, test_send: bool = False) -> None:
        """The user opens a notification. The report may be repeated, and may name the device by its token."""
        tracking_id = None if test_send else str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        named = {"token": self.token} if self.rng.random() < 0.2 else {"installation_id": self.name}
        event: dict[str, Any] = {**named, "tracking_id": tracking_id or "", "status": "opened"}
        if self.rng.random() < 0.5:
            event["occurred_at"] = datetime.now(UTC).isoformat()
        self._model.event(self.name, tracking_id)
        await self._api.events(self.name, [event] if self.rng.random() < 0.5 else event)
        self._model.event_accepted(tracking_id, time.time())
        if self.rng.random() < 0.2:
            await self._api.events(self.name, event)

    async def until_registered(self) -> None:
        """Wait until tokenhub says that the registration is confirmed, or until it has been long enough."""
        ends = asyncio.get_running_loop().time() + WAIT_FOR_REGISTRATION
        while await self._api.state(self.name) != "registered":
            if asyncio.get_running_loop().time() > ends:
                return
            # A fixed pause: how often we ask is chance, and must not use up the numbers that decide what we do next.
            await asyncio.sleep(POLL)

    def sibling(self, suffix: str) -> "Phone":
        """Another installation in the same hands."""
        rng = random.Random(self.rng.random())  # noqa: S311 - to be repeatable is what it is for
        sibling = Phone(self._api, self._model, rng, f"{self.name}-{suffix}", self._pace)
        sibling.surprises = self.surprises
        return sibling

    async def _post(self, user: dict[str, Any] | None, *, as_server: bool) -> str:
        body: dict[str, Any] = {
            "installation_id": self.name,
            "platform": self.platform,
            "token": self.token,
            "app_version": "4.2.0",
            "locale": "de-DE",
            "time_zone": "Europe/Berlin",
        }
        if as_server:
            body["user"] = user
        posted, result = await self._api.launch(body, as_server=as_server)
        self._model.launch(self.name, self.token, posted, user=user, keep=not as_server)
        return result

"""People are told of alerts: once, again after a time, when it is over; by a real mail server and a real webhook."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from registry.models import AlertEpisode, AlertMessage, DataverseMapping, MobileApp
from sync import pauses
from sync.clients.errors import Denied
from sync.clients.webhook import signature
from sync.steps import notify
from tests.conftest import Api
from tests.races import in_parallel
from tokenhub.email_url import mailer
from tokenhub.embedded import ports

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANNA = {"id": "anna-of-contoso", "email": "anna@contoso.example", "phone": "+4915112345678"}


class Inbox(Message):
    """A mail server's: `answer` is what it says to the next mails instead of taking them."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []
        self.answer = ""

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)

    async def handle_DATA(  # noqa: N802 as it is called
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        if self.answer:
            return self.answer
        taken: str = await super().handle_DATA(server, session, envelope)
        return taken


class Hook:
    """A receiver of webhooks; `status` is what it answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.posts.append(({k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length)))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def events(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.posts]


@pytest.fixture
def inbox(settings: Settings) -> Iterator[Inbox]:
    box = Inbox()
    port = ports.choose()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    settings.TOKENHUB_EMAIL_URL = f"smtp://127.0.0.1:{port}"
    settings.TOKENHUB_ALERT_EMAILS = ["ops@contoso.example", "night@contoso.example"]
    settings.MAILERS = {"default": mailer(settings.TOKENHUB_EMAIL_URL)}
    yield box
    controller.stop()


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    found = Hook()
    settings.TOKENHUB_ALERT_WEBHOOK_URL = found.url
    settings.TOKENHUB_ALERT_WEBHOOK_SECRET = SECRET
    yield found
    found.server.shutdown()
    found.server.server_close()


def work() -> None:
    while notify.run_batch():
        pass


def later(**units: float) -> None:
    """Time passes for all that is known of alerts."""
    past = timedelta(**units)
    for episode in AlertEpisode.objects.all():
        for name in ("seen_at", "missing_since", "told_at", "over_at"):
            if (at := getattr(episode, name)) is not None:
                setattr(episode, name, at - past)
        episode.save()
    for message in AlertMessage.objects.filter(due_at__isnull=False):
        AlertMessage.objects.filter(pk=message.pk).update(due_at=message.due_at - past)  # type: ignore[operator]


def raised(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    work()
    later(minutes=2)
    work()


def test_it_is_told_once_then_reminded_of_then_over(app: MobileApp, inbox: Inbox, hook: Hook) -> None:
    raised(app)
    for _ in range(3):
        work()
    assert [mail["Subject"] for mail in inbox.mails] == ["[tokenhub] paused, app shop"]
    assert inbox.mails[0]["To"] == "ops@contoso.example, night@contoso.example"
    assert "credentials are refused [HTTP 401]" in inbox.mails[0].get_payload()
    assert "renew the client secret" in inbox.mails[0].get_payload()
    later(hours=25)
    work()
    work()
    app.pauses.all().delete()
    work()
    later(minutes=2)
    work()
    later(minutes=2)
    work()
    assert [mail["Subject"].removeprefix("[tokenhub] ") for mail in inbox.mails] == [
        "paused, app shop",
        "still: paused, app shop",
        "over: paused, app shop",
    ]
    assert hook.events() == ["alert.raised", "alert.reminder", "alert.over"]


def test_what_is_gone_before_long_is_never_told(app: MobileApp, hook: Hook) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    work()
    app.pauses.all().delete()
    work()
    later(minutes=2)
    work()
    assert (hook.posts, AlertEpisode.objects.count()) == ([], 0)


def test_what_comes_and_goes_is_one(app: MobileApp, hook: Hook) -> None:
    raised(app)
    for _ in range(3):
        app.pauses.all().delete()
        work()
        pauses.rest(app, Denied("HTTP 401"))
        work()
        later(minutes=2)
        work()
    assert hook.events() == ["alert.raised"]


def test_the_webhook_is_signed_and_says_who_must_do_what(app: MobileApp, hook: Hook) -> None:
    # Made with the library of the specification.
    assert signature(SECRET, "msg_1", 1614265330, b'{"test":1}') == "VPYgn+wQ2NP1bqG0eC4iCt5m54MvUqC0HQWl6aDniOY="
    raised(app)
    ((headers, body),) = hook.posts
    message = AlertMessage.objects.get()
    assert headers["webhook-id"] == str(message.pk)
    expected = signature(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == f"v1,{expected}"
    said = json.loads(body)
    assert said["data"]["kind"] == "paused"
    assert said["data"]["subject"] == "app shop"
    assert "manage.py set_client_secret" in said["data"]["to_do"]
    assert said["text"].startswith("tokenhub paused, app shop\n")


def test_a_delivery_is_tried_again_until_it_arrives(app: MobileApp, hook: Hook, inbox: Inbox) -> None:
    hook.status, inbox.answer = 500, "451 4.3.0 try later, ops@contoso.example"
    raised(app)
    failed = {message.channel: message.detail for message in AlertMessage.objects.all()}
    assert failed == {"webhook": "the webhook: HTTP 500", "email": "the mail server answers 451"}
    work()
    assert len(hook.posts) == 1
    hook.status, inbox.answer = 200, ""
    later(minutes=1)
    work()
    later(minutes=1)
    work()
    assert len(inbox.mails) == 1
    assert {headers["webhook-id"] for headers, _ in hook.posts} == {str(AlertMessage.objects.get(channel="webhook").pk)}
    assert len(hook.posts) == 2
    assert not AlertMessage.objects.filter(delivered_at=None).exists()


def test_a_mail_server_that_is_gone_keeps_no_other_channel_waiting(
    app: MobileApp, hook: Hook, inbox: Inbox, settings: Settings
) -> None:
    settings.MAILERS = {"default": mailer("smtp://127.0.0.1:1")}
    raised(app)
    assert hook.events() == ["alert.raised"]
    assert AlertMessage.objects.get(channel="email").detail == "the mail server: ConnectionRefusedError"


def test_a_message_whose_worker_was_killed_is_sent_again_and_known_by_its_id(app: MobileApp, hook: Hook) -> None:
    raised(app)
    AlertMessage.objects.update(due_at=timezone.now(), delivered_at=None)  # sent, and not settled
    work()
    assert len(hook.posts) == 2
    assert len({headers["webhook-id"] for headers, _ in hook.posts}) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_look_at_once_tell_once(app: MobileApp, hook: Hook) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    assert in_parallel(4, lambda _: work()) == []
    later(minutes=2)
    assert in_parallel(4, lambda _: work()) == []
    assert hook.events() == ["alert.raised"]


def test_after_days_it_is_given_up(app: MobileApp, hook: Hook) -> None:
    hook.status = 500
    raised(app)
    long_ago: datetime = timezone.now() - timedelta(days=4)
    AlertMessage.objects.update(created_at=long_ago, due_at=long_ago)
    work()
    message = AlertMessage.objects.get()
    assert (message.due_at, message.delivered_at, message.detail) == (None, None, "the webhook: HTTP 500")


def test_nothing_of_anybody_s_is_told(app: MobileApp, server: Api, hook: Hook, inbox: Inbox) -> None:
    server.launch(token="the-push-token-of-anna", user=ANNA)
    DataverseMapping.objects.update(due_at=timezone.now() - timedelta(hours=2))
    work()
    later(minutes=2)
    work()
    assert hook.events() == ["alert.raised"]
    said = inbox.mails[0].as_string() + hook.posts[0][1].decode() + str(hook.posts[0][0])
    for datum in [*ANNA.values(), "the-push-token-of-anna", "phone-1", SECRET, app.api_token]:
        assert datum not in said


def test_where_no_channel_is_set_nothing_is_noted(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    assert notify.run_batch() == 0
    assert AlertEpisode.objects.count() == 0


def test_the_channels_can_be_tried(app: MobileApp, hook: Hook, inbox: Inbox) -> None:
    call_command("test_alerts")
    assert [mail["Subject"] for mail in inbox.mails] == ["[tokenhub] test, manage.py test_alerts"]
    hook.status = 403
    with pytest.raises(CommandError, match="webhook: the webhook: HTTP 403"):
        call_command("test_alerts")
    assert AlertEpisode.objects.count() == 0


def test_without_a_channel_the_trial_says_what_to_set(db: None) -> None:
    with pytest.raises(CommandError, match="TOKENHUB_ALERT_EMAILS"):
        call_command("test_alerts")

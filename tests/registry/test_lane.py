"""The lane in front of Django: what it answers is what Django would have, and the rest goes on untouched."""

import io
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from queue import Empty, Queue
from types import SimpleNamespace
from typing import Any

import jwt
import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.db.models import BinaryField, DateTimeField, F, Field, Model
from hypothesis import HealthCheck, given, settings, strategies
from pytest_django import Settings

from registry import ports
from registry.api.lane import Lane
from registry.models import ApiKey, DataverseMapping, Device, HistoryEntry, MobileApp, MobileUser, TokenIssuer
from registry.ports import work_waiting
from registry.services import correlation, freshness, keys, own_connection, user_tokens
from registry.services.keys import create_key, revoke_key
from registry.services.reconcile import begin
from registry.services.token_issuers import set_token_issuer
from registry.states import Identity
from tokenhub.observe import HEADER, seen

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a shared secret that is long enough for every algorithm, HS512 as well"
NOW = int(time.time())


class Answer:
    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = int(status.split(maxsplit=1)[0])
        self.headers = {name: value for name, value in headers if name != "Content-Length"}
        self.body: dict[str, Any] = json.loads(body)
        self.length = dict(headers).get("Content-Length")


class Web:
    """A WSGI application as a web server calls it; counts what its lane answers itself."""

    def __init__(self) -> None:
        self.by_django = 0
        self._django = WSGIHandler()
        self._lane = Lane(self._counted, seen)

    def _counted(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.by_django += 1
        return self._django(environ, start_response)

    def post(self, key: str, body: Any, *, lane: bool = True, **headers: Any) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/api/v1/devices",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "REMOTE_ADDR": "192.0.2.1",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "testserver:8000",
            "HTTP_AUTHORIZATION": f"Bearer {key}",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(content),
            "wsgi.errors": io.StringIO(),
            **headers,
        }
        started: list[Any] = []
        application: Any = self._lane if lane else self._django
        answered = application(environ, lambda *arguments: started.extend(arguments[:2]))
        content = b"".join(answered)
        if hasattr(answered, "close"):
            answered.close()
        return Answer(started[0], started[1], content)


@pytest.fixture(autouse=True)
def processes_memory(settings: Settings) -> Iterator[None]:
    """A process that keeps what it read, as in production, and limits that count."""
    settings.TOKENHUB_KEY_CACHE = timedelta(minutes=1)
    settings.TOKENHUB_LIMIT_SERVER_KEY = settings.TOKENHUB_LIMIT_MOBILE_KEY = 1_000_000
    settings.TOKENHUB_LIMIT_ADDRESS = 1_000_000
    keys._processes_keys.clear()
    own_connection._own.rests_until = 0.0
    yield
    keys._processes_keys.clear()
    own_connection.forget_connection()


@pytest.fixture
def web() -> Web:
    return Web()


LAUNCH = {"installation_id": "phone-1", "platform": "android", "token": "token-1", "app_version": "4.2.0"}


def repeat(web: Web, key: str, body: Any = LAUNCH, **headers: Any) -> int:
    """Post the same until nothing is new, and once more; how many of that last one Django had to answer."""
    for _ in range(2):
        web.post(key, body, **headers)
    before = web.by_django
    assert web.post(key, body, **headers).body["result"] == "unchanged"
    return web.by_django - before


def statements_of_each_trip(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each of the lane's trips to PostgreSQL has, from now on."""
    trips: list[int] = []
    run = own_connection.run

    def counted(sent: Any) -> Any:
        trips.append(len(sent))
        return run(sent)

    monkeypatch.setattr(own_connection, "run", counted)
    return trips


def test_a_launch_that_says_nothing_new_never_reaches_django(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    user = {"id": "anna", "email": "anna@example.com", "phone": "+4930123456", "push_consent": True}
    assert repeat(web, key, LAUNCH) == 0
    assert repeat(web, key, {**LAUNCH, "user": user, "sequence": 7}) == 0
    assert repeat(web, key, {**LAUNCH, "user": None, "model": ""}) == 0


def test_a_phone_that_shows_its_secret_takes_the_lane_too(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="mobile")
    secret = web.post(key, LAUNCH).body["installation_secret"]
    assert repeat(web, key, HTTP_INSTALLATION_SECRET=secret) == 0
    for wrong in ({"HTTP_INSTALLATION_SECRET": ""}, {"HTTP_INSTALLATION_SECRET": secret.swapcase()}):
        assert web.post(key, LAUNCH, **wrong).status == 403


def test_the_same_user_token_takes_the_lane_until_it_expires(web: Web, make_app: Callable[..., MobileApp]) -> None:
    app = make_app(identity=Identity.JWT, installation_secrets=False)
    issue(app)
    key = create_key(app=app, kind="mobile")
    ends = int(time.time()) + 2
    body = {**LAUNCH, "user": {"token": signed("anna", exp=ends - 30)}}  # thirty are the leeway
    assert repeat(web, key, body) == 0
    while (answer := web.post(key, body)).status == 200:
        assert time.time() < ends + 5  # and a slow machine
        time.sleep(0.1)
    assert answer.status == 403
    assert answer.body["type"].endswith("user-token-expired")


def test_a_user_token_is_worth_nothing_once_its_key_is_replaced(
    web: Web, make_app: Callable[..., MobileApp], settings: Settings
) -> None:
    settings.TOKENHUB_KEY_CACHE = timedelta(seconds=2)
    app = make_app(identity=Identity.JWT, installation_secrets=False)
    issue(app)
    key = create_key(app=app, kind="mobile")
    body = {**LAUNCH, "user": {"token": signed("anna")}}
    assert web.post(key, body).status == 201
    replaced = time.monotonic()
    issue(app, secret=SECRET[::-1])
    while web.post(key, body).status == 200:
        assert time.monotonic() - replaced < 2 + 5  # the cache, and a slow machine
        time.sleep(0.05)
    assert web.post(key, body).body["type"].endswith("user-token-refused")


def test_a_user_token_for_another_installation_is_refused_though_it_was_good_for_its_own(
    web: Web, make_app: Callable[..., MobileApp]
) -> None:
    app = make_app(identity=Identity.JWT, installation_secrets=False)
    issue(app, installation_claim="device")
    key = create_key(app=app, kind="mobile")
    body = {**LAUNCH, "user": {"token": signed("anna", device="phone-1")}}
    assert repeat(web, key, body) == 0
    assert web.post(key, {**body, "installation_id": "phone-2", "token": "token-2"}).status == 403


def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    revoke_key(ApiKey.objects.get())
    assert web.post(key, LAUNCH).status == 401


def test_a_key_that_another_process_revoked_is_refused_within_the_cache_s_time(
    web: Web, app: MobileApp, settings: Settings
) -> None:
    settings.TOKENHUB_KEY_CACHE = timedelta(seconds=1)
    key = create_key(app=app, kind="server")
    web.post(key, LAUNCH)
    revoked = time.monotonic()
    ApiKey.objects.update(revoked_at=F("created_at"))
    while web.post(key, LAUNCH).status == 200:
        assert time.monotonic() - revoked < 1 + 5
        time.sleep(0.05)


def test_one_launch_has_the_key_read_anew_and_the_others_take_the_lane_meanwhile(
    web: Web, app: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    ((key_hash, known),) = keys._processes_keys.items()
    keys._processes_keys[key_hash] = replace(known, aged_at=time.monotonic())
    django = web._django

    def slowly(environ: Any, start_response: Any) -> Any:
        assert [by_the_lane(web, key, LAUNCH).status for _ in range(2)] == [200, 200]
        return django(environ, start_response)

    monkeypatch.setattr(web, "_django", slowly)
    before = web.by_django
    assert web.post(key, LAUNCH).status == 200
    assert web.by_django == before + 1
    assert keys._processes_keys[key_hash].aged_at > time.monotonic()
    by_the_lane(web, key, LAUNCH)


def test_the_launch_that_reads_the_key_reads_the_issuer_too(
    web: Web, make_app: Callable[..., MobileApp], settings: Settings
) -> None:
    app = make_app(identity=Identity.JWT, installation_secrets=False)
    issue(app)
    key = create_key(app=app, kind="mobile")
    body = {**LAUNCH, "user": {"token": signed("anna")}}
    assert repeat(web, key, body) == 0
    now, cached = time.monotonic(), settings.TOKENHUB_KEY_CACHE.total_seconds()
    ((key_hash, known),) = keys._processes_keys.items()
    keys._processes_keys[key_hash] = replace(known, aged_at=now)
    issuer = user_tokens._processes_issuers[app.pk]
    user_tokens._processes_issuers[app.pk] = replace(issuer, read_at=now - 0.6 * cached)
    assert web.post(key, body).body["result"] == "unchanged"
    assert user_tokens._processes_issuers[app.pk].read_at >= now
    assert by_the_lane(web, key, body).body["result"] == "unchanged"


def test_a_key_that_was_not_read_anew_is_believed_no_longer_than_any(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    ((key_hash, known),) = keys._processes_keys.items()
    keys._processes_keys[key_hash] = replace(known, aged_at=time.monotonic())
    assert keys.known_key(key) is None  # and who is told this fails
    assert keys.known_key(key) is not None
    keys._processes_keys[key_hash] = replace(known, believed_until=time.monotonic())
    assert keys.known_key(key) is None


def test_what_was_changed_by_others_is_seen_at_once(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    body = {**LAUNCH, "user": {"id": "anna", "email": "anna@example.com"}}
    assert repeat(web, key, body) == 0
    MobileUser.objects.update(email="other@example.com")
    assert web.post(key, body).body["result"] == "updated"
    assert repeat(web, key, body) == 0
    Device.objects.update(retired_at=F("created_at"))
    assert web.post(key, body).body["result"] == "updated"


def test_last_seen_is_still_written_now_and_then(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    long_ago = Device.objects.get().last_seen - django_settings.TOKENHUB_LAST_SEEN_INTERVAL - timedelta(minutes=1)
    Device.objects.update(last_seen=long_ago)
    assert web.post(key, LAUNCH).body["result"] == "unchanged"
    assert Device.objects.get().last_seen > long_ago
    assert repeat(web, key) == 0


def test_the_first_launch_after_a_restore_has_its_registration_proven(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    seen_before = Device.objects.get().last_seen
    begin(app)
    assert Device.objects.get().last_seen == seen_before
    assert web.post(key, LAUNCH).body["result"] == "unchanged"
    assert Device.objects.get().last_seen > seen_before
    assert repeat(web, key) == 0


def test_a_used_up_limit_is_told_by_django_and_counted_once(
    web: Web, app: MobileApp, settings: Settings, new_minute: None
) -> None:
    key = create_key(app=app, kind="server")
    settings.TOKENHUB_LIMIT_SERVER_KEY = 6  # one comes back in ten seconds
    remaining = [web.post(key, LAUNCH).headers["RateLimit"] for _ in range(6)]
    assert [int(told.split(";r=")[1].split(";")[0]) for told in remaining] == [5, 4, 3, 2, 1, 0]
    refused = web.post(key, LAUNCH)
    assert refused.status == 429
    assert refused.headers["Retry-After"]


def test_a_request_that_goes_on_to_django_is_counted_once(
    web: Web, app: MobileApp, settings: Settings, new_minute: None
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 6
    key = create_key(app=app, kind="server")
    told = [web.post(key, {**LAUNCH, "model": f"model {number}"}).headers["RateLimit"] for number in range(4)]
    assert web.by_django == 4
    assert [part.split(";")[1] for part in told] == ["r=5", "r=4", "r=3", "r=2"]


def test_whoever_is_refused_costs_the_database_nothing(
    web: Web, app: MobileApp, settings: Settings, new_minute: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 4
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0  # the third
    trips = statements_of_each_trip(monkeypatch)
    assert [web.post(key, LAUNCH).status for _ in range(5)] == [200, 429, 429, 429, 429]
    assert trips == [1]


def test_an_answer_that_nobody_read_is_not_given_to_the_next_who_asks(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (own_connection.Statement(f"say {number}".encode(), b"SELECT %d" % number) for number in (1, 2))
    assert own_connection.run([(one, [])])
    assert own_connection.run([(two, [])])

    def interrupted(libpq: Any, count: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(own_connection, "_results", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own_connection.run([(one, [])])
    results = own_connection.run([(two, [])])
    assert results is not None
    assert results[0].get_value(0, 0) == b"2"


def test_a_text_with_a_nul_is_not_what_it_begins_with(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    body = {**LAUNCH, "user": {"id": "anna"}}
    assert repeat(web, key, body) == 0
    for ended in ({**body, "token": "token-1\0more"}, {**body, "user": {"id": "anna\0"}}, {**body, "model": "\0"}):
        assert web.post(key, ended).status == 400


def test_a_text_that_would_be_trimmed_is_left_to_django(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    body = {**LAUNCH, "user": {"id": "anna"}}
    assert repeat(web, key, body) == 0
    MobileUser.objects.update(external_id=" anna")  # as tokens could name users once
    assert web.post(key, {**body, "user": {"id": " anna"}}).body["result"] == "updated"
    assert sorted(MobileUser.objects.values_list("external_id", flat=True)) == [" anna", "anna"]


@pytest.mark.parametrize("character", ["\ufffd", "\u200b", "\u202e"])
def test_the_lane_makes_no_user_whose_id_cannot_be_read(
    web: Web, make_app: Callable[..., MobileApp], character: str
) -> None:
    app = make_app(max_devices_per_user=0)
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    new = {**LAUNCH, "installation_id": "phone-2", "token": "token-2", "user": {"id": f"anna{character}"}}
    assert web.post(key, new).status == 400
    assert not MobileUser.objects.exists()


def by_the_lane(web: Web, key: str, body: Any, **headers: Any) -> Answer:
    before = web.by_django
    answer = web.post(key, body, **headers)
    assert web.by_django == before
    return answer


ANNA = {"id": "anna", "email": "anna@example.com", "phone": "+4930123456", "push_consent": False}


def test_plain_changes_never_reach_django(web: Web, make_app: Callable[..., MobileApp]) -> None:
    app = make_app(max_devices_per_user=0)
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    new = by_the_lane(web, key, {**LAUNCH, "installation_id": "phone-2", "token": "token-2", "user": ANNA})
    made = Device.objects.get(installation_id="phone-2")
    assert made.changed_by is not None
    assert made.changed_by.hex == new.headers[HEADER]
    assert (new.status, new.body) == (201, {"installation_id": "phone-2", "result": "created"})
    renewed = {
        **LAUNCH,
        "installation_id": "phone-2",
        "token": "token-3",
        "user": ANNA,
        "model": "Pixel 9",
        "sequence": 4,
    }
    answer = by_the_lane(web, key, renewed)
    assert (answer.status, answer.body) == (200, {"installation_id": "phone-2", "result": "updated"})
    second = by_the_lane(web, key, {**LAUNCH, "installation_id": "phone-3", "token": "token-4", "user": ANNA})
    assert second.status == 201
    device = Device.objects.select_related("user__mapping").get(installation_id="phone-2")
    assert (device.token, device.model, device.sequence, device.revision) == ("token-3", "Pixel 9", 4, 2)
    assert device.changed_by is not None
    assert device.changed_by.hex == answer.headers[HEADER]
    assert device.user is not None
    assert (device.user.external_id, device.user.push_consent, device.user.mapping.state) == ("anna", False, "pending")
    # The call that looks her up tells the post that she came with.
    assert device.user.mapping.asked_by == made.changed_by
    assert Device.objects.filter(user=device.user).count() == 2


def test_a_new_phone_gets_its_secret_by_the_lane_and_renews_its_token_with_it(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="mobile")
    web.post(key, LAUNCH)
    phone = {**LAUNCH, "installation_id": "phone-2"}
    secret = by_the_lane(web, key, {**phone, "token": "token-2"}).body["installation_secret"]
    shown = {"HTTP_INSTALLATION_SECRET": secret}
    web.post(key, {**phone, "token": "token-2"}, **shown)
    assert by_the_lane(web, key, {**phone, "token": "token-3"}, **shown).body["result"] == "updated"
    assert web.post(key, {**phone, "token": "token-4"}).status == 403


def test_the_lane_announces_what_it_wrote(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    told: Queue[tuple[set[str], str]] = Queue()

    def note(sender: Any, steps: frozenset[str], **kwargs: Any) -> None:
        post = correlation.current()
        told.put((set(steps), post.hex if post else ""))

    work_waiting.connect(note)
    try:
        renewed = by_the_lane(web, key, {**LAUNCH, "token": "token-2"})
        assert told.get(timeout=10) == ({"plan"}, renewed.headers[HEADER])
        # What changes afterwards is told anew.
        made = by_the_lane(web, key, {**LAUNCH, "installation_id": "phone-2", "token": "token-3", "user": ANNA})
        both = [told.get(timeout=10) for _ in range(2)]
    finally:
        work_waiting.disconnect(note)
    assert sorted(step for steps, _ in both for step in steps) == ["map", "plan"]
    assert {post for _, post in both} == {made.headers[HEADER]}


def test_what_the_lane_writes_in_a_moment_is_announced_once(
    web: Web, app: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    monkeypatch.setattr(ports._saying, "_seconds", 1.0)
    told: Queue[frozenset[str]] = Queue()

    def note(sender: Any, steps: frozenset[str], **kwargs: Any) -> None:
        told.put(steps)

    work_waiting.connect(note)
    try:
        for number in range(3):
            by_the_lane(web, key, {**LAUNCH, "token": f"renewed-{number}"})
        assert told.get(timeout=10) == {"plan"}
        with pytest.raises(Empty):
            told.get(timeout=1.5)
    finally:
        work_waiting.disconnect(note)


@pytest.mark.parametrize(
    "body",
    [
        {"installation_id": "phone-2"},
        {"user": {"id": "anna"}},
        {"token": "token-2", "user": {"id": "anna"}},
        # An app's limit of phones for each user has to be kept, and is by default.
        {"installation_id": "phone-2", "token": "token-2", "user": {"id": "emma"}},
        {"token": "token-2", "platform": "windows"},
        {"token": "token-2", "time_zone": "Europe/Nowhere"},
        {"token": "token-2", "model": "x" * 129},
        {"token": "token 2"},
        {"installation_id": "phone 2", "token": "token-2"},
        {"installation_id": "phone-2", "token": "token-2", "user": {"id": "anna", "email": "no"}},
        {"installation_id": "phone-2", "token": "token-2", "user": {"id": "anna", "phone": "030 1"}},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_django(web: Web, app: MobileApp, body: dict[str, Any]) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    web.post(key, {**LAUNCH, "installation_id": "phone-0", "token": "token-0", "user": {"id": "emma"}})
    before = web.by_django
    web.post(key, {**LAUNCH, **body})
    assert web.by_django == before + 1


def test_phones_that_swap_tokens_in_parallel_end_with_a_living_holder_a_token(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    web.post(key, LAUNCH)

    def phone(number: int) -> list[int]:
        chance = random.Random(number)  # noqa: S311 any will do
        try:
            return [
                web.post(
                    key,
                    {**LAUNCH, "installation_id": f"p-{chance.randrange(6)}", "token": f"t-{chance.randrange(6)}"},
                ).status
                for _ in range(40)
            ]
        finally:
            own_connection.forget_connection()
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        statuses = {status for found in pool.map(phone, range(4)) for status in found}
    assert statuses <= {200, 201, 409}
    living = list(Device.objects.filter(retired_at=None).values_list("token", flat=True))
    assert len(living) == len(set(living)) > 0
    assert Device.objects.count() <= 7


def test_a_broken_connection_costs_nothing_but_time(web: Web, app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    own = own_connection._own.connection
    assert own is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [own.info.backend_pid])
    before = web.by_django
    assert web.post(key, LAUNCH).body["result"] == "unchanged"
    assert web.by_django == before + 1
    assert repeat(web, key) == 0


def test_a_database_that_is_away_is_told_of_by_django_alone(
    web: Web, app: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    tried: list[int] = []

    def nobody() -> Any:
        tried.append(1)
        raise psycopg.OperationalError("nobody listens")

    monkeypatch.setattr(own_connection, "_connect", nobody)
    own_connection.forget_connection()
    assert [web.post(key, LAUNCH).body["result"] for _ in range(3)] == ["unchanged"] * 3
    assert len(tried) == 1


def test_behind_pgbouncer_nothing_is_prepared(web: Web, app: MobileApp, settings: Settings) -> None:
    settings.TOKENHUB_PGBOUNCER = True
    assert repeat(web, create_key(app=app, kind="server")) == 0
    own = own_connection._own.connection
    assert own is not None
    assert own.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@pytest.mark.parametrize(
    "changed",
    [
        {"PATH_INFO": "/api/v1/devices/"},
        {"QUERY_STRING": "format=xml"},
        {"CONTENT_TYPE": "text/plain"},
        {"HTTP_ACCEPT": "text/html"},
        {"HTTP_HOST": "elsewhere.example"},
        {"HTTP_HOST": ""},
        {"HTTP_AUTHORIZATION": "Basic abc"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "¹"},
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""},
        {"REQUEST_METHOD": "PUT"},
    ],
    ids=str,
)
def test_an_unusual_request_is_answered_as_ever(web: Web, app: MobileApp, changed: dict[str, str]) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key) == 0
    told: list[Any] = []
    for lane in (True, False):
        try:
            answer = web.post(key, LAUNCH, lane=lane, **changed)
        except ValueError:  # an answer that is not JSON, and so not the lane's
            told.append("a page")
        else:
            told.append((answer.status, answer.body, answer.headers.keys()))
    assert told[0] == told[1]


@pytest.mark.parametrize("https", [False, True])
@pytest.mark.parametrize("pages", [False, True])
def test_the_headers_are_django_s(web: Web, app: MobileApp, settings: Settings, https: bool, pages: bool) -> None:
    from registry.api import lane

    lane._constant_headers.cache_clear()
    settings.SECURE_HSTS_SECONDS = 3600
    if not pages:
        settings.MIDDLEWARE = [
            "tokenhub.observe.Observe",
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "registry.api.limits.RateLimitHeaders",
        ]
    web = Web()
    key = create_key(app=app, kind="server")
    scheme = {"wsgi.url_scheme": "https" if https else "http"}
    assert repeat(web, key, **scheme) == 0
    ours, theirs = (web.post(key, LAUNCH, lane=lane, **scheme) for lane in (True, False))
    assert ours.headers.keys() == theirs.headers.keys()
    for name in ours.headers.keys() - IGNORED:
        assert ours.headers[name] == theirs.headers[name]
    assert ours.headers["RateLimit"].startswith('"key";r=')
    assert ours.length == theirs.length
    lane._constant_headers.cache_clear()


# --- the same posts through both, in two apps that are alike ----------------------------------------------------------
def issue(app: MobileApp, secret: str = SECRET, **fields: Any) -> None:
    issuer = {"issuer": "https://login.example", "audience": "shop", "secret": secret, "algorithms": ["HS256"]}
    set_token_issuer(app, TokenIssuer(**{**issuer, **fields}))


def signed(subject: str, **more: Any) -> str:
    claims = {"iss": "https://login.example", "aud": "shop", "sub": subject, "iat": NOW, "exp": NOW + 3600, **more}
    return jwt.encode(claims, SECRET, algorithm="HS256")


TOKENS = [signed("anna"), signed("anna", iat=NOW - 60), signed(" anna", email="A@Example.com", email_verified=True)]
TEXTS = ["", " ", "4.2.0", " 4.2.0", "4\u0000", "\ud800", "ä", "\u00a0x", 7, None, True, "x" * 65]
USERS = strategies.one_of(
    strategies.none(),
    strategies.just(7),
    strategies.fixed_dictionaries(
        {"id": strategies.sampled_from(["anna", " anna", "anna\u0000", "ben", ""])},
        optional={
            "email": strategies.sampled_from(
                ["anna@example.com", "Anna@EXAMPLE.com", "anna@example.com ", "an\u0000na@example.com", "", None, "no"]
            ),
            "phone": strategies.sampled_from(["+4930123456", "+49 30 123456", "030 123456", "", None]),
            "push_consent": strategies.sampled_from([True, False, "true"]),
            "tracking_consent": strategies.booleans(),
        },
    ),
    strategies.fixed_dictionaries(
        {"token": strategies.sampled_from([*TOKENS, "no token", 7])},
        optional={"push_consent": strategies.booleans(), "id": strategies.just("anna")},
    ),
)
WILD = strategies.fixed_dictionaries(
    {
        "installation_id": strategies.sampled_from(["phone-1", "phone-1", "phone-2", "phone 1", "", 7]),
        "platform": strategies.sampled_from(["android", "android", "ios", "Android"]),
        "token": strategies.sampled_from(["token-1", "token-1", "token-2", "token-1\u0000", "AB" * 32, "ab" * 32, ""]),
    },
    optional={
        "user": USERS,
        "app_version": strategies.sampled_from(TEXTS),
        "time_zone": strategies.sampled_from(["Europe/Berlin", "Europe/Nowhere", ""]),
        "sequence": strategies.sampled_from([1, 2, 2, 2.0, True, "2", -1, 2**63]),
        "unknown": strategies.just(1),
    },
)
# Of the wild ones nearly all are refused, and leave nothing to compare.
PLAIN = strategies.fixed_dictionaries(
    {
        "installation_id": strategies.sampled_from(["phone-1", "phone-2"]),
        "platform": strategies.just("android"),
        "token": strategies.sampled_from(["token-1", "token-2", "token-3"]),
    },
    optional={
        "user": strategies.fixed_dictionaries(
            {"id": strategies.sampled_from(["anna", "ben"])},
            optional={
                "email": strategies.sampled_from(["anna@example.com", "Anna@EXAMPLE.com", ""]),
                "phone": strategies.sampled_from(["+4930123456", ""]),
                "push_consent": strategies.booleans(),
            },
        ),
        "app_version": strategies.sampled_from(["4.2.0", "4.3.0"]),
        "sequence": strategies.integers(1, 3),
    },
)
POSTS = strategies.one_of(PLAIN, PLAIN, WILD)
SHOWN = strategies.sampled_from(["own", "own", "own", "", "wrong"])
SESSIONS = strategies.fixed_dictionaries(
    {
        "identity": strategies.sampled_from(Identity.values),
        "kind": strategies.sampled_from(["server", "mobile"]),
        "installation_secrets": strategies.booleans(),
        # Each is posted once, twice or three times: from the second on it says nothing new.
        "posts": strategies.lists(strategies.tuples(POSTS, SHOWN, strategies.integers(1, 3)), min_size=2, max_size=8),
    }
)
IGNORED = {"RateLimit", HEADER}  # tell of time, and of the request


OWN = {"id", "app", "user", "secret_hash"}
POST_S_OWN = {"changed_by", "asked_by"}  # ids of the post


def comparable(row: Model) -> tuple[Any, ...]:
    fields = [field for field in row._meta.concrete_fields if field.name not in OWN]
    return tuple(_comparable(field, getattr(row, field.attname)) for field in fields)


def _comparable(field: Field[Any, Any], value: Any) -> Any:
    if isinstance(field, DateTimeField) or field.name in POST_S_OWN:
        return value is None
    return bytes(value) if isinstance(field, BinaryField) else value


class World:
    """An app with its phones, which keep the secrets that they are given."""

    def __init__(self, web: Web, make_app: Callable[..., MobileApp], session: dict[str, Any], *, lane: bool) -> None:
        self._web, self._lane = web, lane
        names = ("identity", "installation_secrets")
        slug = f"app-{uuid.uuid4().hex[:12]}"
        self.app = make_app(slug, default_region="DE", **{name: session[name] for name in names})
        issue(self.app)
        self._key = create_key(app=self.app, kind=session["kind"])
        self._secrets: dict[Any, str] = {}

    def post(self, body: dict[str, Any], shown: str) -> tuple[Any, ...]:
        phone = str(body["installation_id"])
        secret = self._secrets.get(phone, "") if shown == "own" else shown
        answer = self._web.post(self._key, body, lane=self._lane, HTTP_INSTALLATION_SECRET=secret)
        given = answer.body.pop("installation_secret", None)
        if given:
            self._secrets[phone] = given
        headers = {name: value for name, value in answer.headers.items() if name not in IGNORED}
        return answer.status, bool(given), answer.body, headers

    def rows(self) -> tuple[Any, ...]:
        """Every column but keys and secrets; of times and ids of posts whether there is one."""
        devices = Device.objects.filter(app=self.app).order_by("installation_id")
        users = MobileUser.objects.filter(app=self.app).order_by("external_id")
        mappings = DataverseMapping.objects.filter(user__app=self.app).order_by("user__external_id")
        history = HistoryEntry.objects.filter(app=self.app).order_by("token_end", "kind", "pk")
        return (
            [(*comparable(device), device.user and device.user.external_id) for device in devices],
            [comparable(user) for user in users],
            [comparable(mapping) for mapping in mappings],
            list(history.values_list("kind", "token_end", "by", "data")),
        )


def test_any_posts_leave_the_same_rows_and_answers(
    web: Web, make_app: Callable[..., MobileApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sign-out is written with its second, and the two worlds' need not be the same one.
    monkeypatch.setattr(freshness, "time", SimpleNamespace(time=lambda: float(NOW)))
    answered_by_the_lane = 0

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(session=SESSIONS)
    def compare(session: dict[str, Any]) -> None:
        nonlocal answered_by_the_lane
        with_lane, without = (World(web, make_app, session, lane=lane) for lane in (True, False))
        for body, shown, times in session["posts"]:
            for _ in range(times):
                before = web.by_django
                assert with_lane.post(body, shown) == without.post(body, shown)
                answered_by_the_lane += web.by_django == before
                assert with_lane.rows() == without.rows()

    compare()
    assert answered_by_the_lane

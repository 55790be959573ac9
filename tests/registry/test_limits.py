"""Limits by key and by client address, on real Valkey."""

import ipaddress
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from pytest_django import Settings

from registry.models import ApiKey, Device, MobileApp
from registry.services import limits
from registry.services.keys import create_key
from registry.services.limits import Count, Limit, client_address
from registry.services.valkey import Script, valkey
from tests.conftest import Api

PROXY, INNER_PROXY = "10.1.0.1", "10.2.0.1"
TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


pytestmark = pytest.mark.usefixtures("new_minute")


def post(api: Api, number: int = 0, **environ: Any) -> Any:
    body = {"installation_id": f"p{number}", "platform": "android", "token": f"t{number}"}
    return api.client.post("/api/v1/devices", body, format="json", **environ)


def left(answer: Any) -> int:
    """How many requests the first limit of an answer leaves."""
    return int(answer["RateLimit"].partition(";r=")[2].partition(";")[0])


def test_a_key_may_make_so_many_requests_a_minute_and_is_told(settings: Settings, server: Api) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 3
    answers = [server.launch() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 429]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=60'}
    assert [answer["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    refused = answers[-1]
    assert refused.json() == {
        "type": "urn:tokenhub:problem:too-many-requests",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too many requests. The headers RateLimit-Policy and RateLimit say how many may be made.",
    }
    assert 15 < int(refused["Retry-After"]) <= 20  # a third of a minute for each


def test_a_refused_request_changes_nothing_and_is_not_counted(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_MOBILE_KEY, settings.TOKENHUB_LIMIT_ADDRESS = 20, 1
    assert left(post(mobile, 1)) == 19
    for _ in range(5):
        refused = post(mobile, 2)
        assert refused.status_code == 429
    assert left(refused) >= 18  # what it would have been, each time; a slow machine gets some back meanwhile
    assert Device.objects.count() == 1


def test_one_address_does_not_use_up_what_another_has(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 1
    addresses = ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    assert [post(mobile, n, REMOTE_ADDR=address).status_code for n, address in enumerate(addresses)] == [201, 429, 201]


def test_a_server_key_has_no_limit_by_address(settings: Settings, server: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 1
    assert [server.launch().status_code for _ in range(3)] == [201, 200, 200]


def test_each_key_has_its_own(settings: Settings, app: MobileApp) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 1
    one, other = (Api(create_key(app=app, kind="server")) for _ in range(2))
    assert [one.launch().status_code, one.launch().status_code, other.launch().status_code] == [201, 429, 200]


def test_who_tries_keys_is_limited(settings: Settings, db: None) -> None:
    settings.TOKENHUB_LIMIT_REFUSED = 2
    answers = [Api(f"thub_srv_{number}").launch() for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
    assert answers[-1]["RateLimit-Policy"] == '"refused";q=2;w=60'


def test_an_invented_forwarded_address_does_not_help(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 1
    statuses = [post(mobile, HTTP_X_FORWARDED_FOR=f"198.51.100.{number}").status_code for number in range(3)]
    assert statuses == [201, 429, 429]


def test_behind_a_trusted_proxy_each_client_has_its_own(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS, settings.TOKENHUB_TRUSTED_PROXIES = 1, TRUSTED
    for number in range(3):
        seen = {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": f"1.2.3.4, 198.51.100.{number}"}
        assert [post(mobile, number, **seen).status_code for _ in range(2)] == [201, 429]


def test_without_valkey_a_process_limits_for_itself_and_the_log_says_so_once(
    settings: Settings, server: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 3
    tried: list[float] = []

    def nobody(keys: Sequence[str], args: Sequence[float]) -> None:
        tried.append(time.monotonic())
        raise redis.ConnectionError

    monkeypatch.setattr(limits, "_add", nobody)
    assert server.launch().status_code == 201
    time.sleep(3 * limits.SHARED)
    assert server.launch().status_code == 200
    time.sleep(3 * limits.SHARED)
    assert [server.launch().status_code for _ in range(2)] == [200, 429]
    assert [record.getMessage() for record in caplog.records if record.name == limits.logger.name] == [
        "each process limits for itself for 5 s: ConnectionError"
    ]
    assert len(tried) == 1


def test_nothing_waits_for_a_valkey_that_hangs(
    settings: Settings, server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 100
    asked, answered = threading.Event(), threading.Event()

    def hangs(keys: Sequence[str], args: Sequence[float]) -> list[float]:
        asked.set()
        answered.wait(10)
        return list(args)

    monkeypatch.setattr(limits, "_add", hangs)
    assert left(server.launch()) == 99
    assert asked.wait(10)
    assert left(server.launch()) == 98
    answered.set()


def test_what_other_processes_counted_is_known_after_the_next_request_is_shared(
    settings: Settings, server: Api
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 100
    assert left(server.launch()) == 99
    other = limits._Meter()
    (limit,) = limits.of_key(ApiKey.objects.get(), "192.0.2.1")
    for _ in range(50):
        other.count([limit])
    other.share()
    server.launch()
    limits._meter.share()
    assert left(server.launch()) <= 48  # 47, but for what a slow machine got back


def test_what_is_counted_while_valkey_answers_is_not_lost(
    settings: Settings, server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOKENHUB_LIMIT_SERVER_KEY = 100
    add = limits._add

    def and_one_more(keys: Sequence[str], args: Sequence[float]) -> Any:
        sums = add(keys, args)
        monkeypatch.setattr(limits, "_add", add)
        server.launch()
        return sums

    server.launch()
    limits._meter.share()
    monkeypatch.setattr(limits, "_add", and_one_more)
    server.launch()
    limits._meter.share()
    assert left(server.launch()) <= 97


def test_what_is_not_used_any_more_is_forgotten(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 6000  # a hundredth of a second each
    for number in range(5):
        assert post(mobile, 1, REMOTE_ADDR=f"192.0.2.{number}").status_code in (200, 201)
    give_up = time.monotonic() + 10
    while len(limits._meter._used_until) > 1 and time.monotonic() < give_up:  # the key's own may stay
        time.sleep(0.02)
        post(mobile, 1, REMOTE_ADDR="192.0.2.1")
    assert len(limits._meter._used_until) <= 2


ECHO = "return ARGV[1]"


def test_an_answer_that_nobody_read_is_not_given_to_the_next_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(ECHO)
    assert script(["k"], [1.0]) == b"1.0"

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(redis.Connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            script(["k"], [2.0])
    assert script(["k"], [3.0]) == b"3.0"


def test_a_connection_that_was_closed_while_it_rested_is_replaced() -> None:
    script = Script(ECHO)
    assert script(["k"], [1.0]) == b"1.0"
    closed = [client for client in valkey().client_list() if client["cmd"] in ("evalsha", "eval")]
    assert closed
    for client in closed:
        valkey().client_kill_filter(_id=client["id"])
    assert script(["k"], [2.0]) == b"2.0"


def test_valkey_holds_no_addresses(settings: Settings, mobile: Api) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 5
    post(mobile, REMOTE_ADDR="192.0.2.77")
    limits._meter.share()
    time.sleep(0.1)  # where the thread was faster
    names = list(valkey().scan_iter("tokenhub:*"))  # of other tests, too
    assert [name for name in names if b"192.0.2.77" in name] == []
    assert limits._key("address", "192.0.2.77").encode() in names
    assert 0 < valkey().pttl(limits._key("address", "192.0.2.77")) <= 61_000


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),  # nobody whom we trust says so
        (PROXY, "", PROXY),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (PROXY, f"198.51.100.1, {INNER_PROXY}", "198.51.100.1"),
        (PROXY, f"{INNER_PROXY}", INNER_PROXY),
        (PROXY, "198.51.100.1, nonsense", PROXY),
        (PROXY, "<script>", PROXY),
        ("fd00::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (PROXY, "203.0.113.9, 198.51.100.1:50123", "198.51.100.1"),
        (PROXY, "[2001:db8:1:2::5]:50123", "2001:db8:1:2::/64"),
        (PROXY, "198.51.100.1:50123, [fd00::1]", "198.51.100.1"),
        (PROXY, "198.51.100.1:x", PROXY),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("2001:db8::1", "", "2001:db8::/64"),
        ("", "198.51.100.1", ""),
    ],
)
def test_whose_address_counts(remote: str, forwarded: str, client: str) -> None:
    assert client_address(remote, forwarded, TRUSTED) == client


def test_what_is_told_of_a_limit() -> None:
    fresh = Count(Limit("key", "1", 60), used=1.0)
    assert (fresh.exceeded, fresh.remaining, fresh.reset, fresh.retry_after) == (False, 59, 1, 0)
    over = Count(Limit("key", "1", 60), used=61.0)
    assert (over.exceeded, over.remaining, over.reset, over.retry_after) == (True, 0, 60, 1)

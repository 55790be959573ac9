"""What goes wrong on demand, and whether it was acted on all the same."""

import time
import uuid

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import TRACKED, Push


def test_a_status_is_answered_instead_as_often_as_was_said(push: Push, admin: SandboxAdmin) -> None:
    name = admin.add_fault("register", times=2, status=429, headers={"Retry-After": "7"}, body={"slow": "down"})
    answers = [push.post("devices", push.device(f"t{number}")) for number in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 202]
    assert (answers[0].headers["retry-after"], answers[0].json()) == ("7", {"slow": "down"})
    admin.wait_until_idle()
    assert len(push.held()) == 1
    assert [call.fault for call in admin.calls("register")] == [name, name, None]


def test_a_call_can_be_acted_on_and_still_be_answered_with_an_error(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault("register", status=500, handled=True)
    assert push.post("devices", push.device()).status_code == 500
    admin.wait_until_idle()
    assert len(push.held()) == 1


@pytest.mark.parametrize(("drop", "held"), [("before", 0), ("after", 1), ("middle", 1)])
def test_the_connection_can_be_cut(push: Push, admin: SandboxAdmin, drop: str, held: int) -> None:
    admin.add_fault("register", drop_connection=drop)
    with pytest.raises(httpx2.RemoteProtocolError):
        push.post("devices", push.device(), TRACKED)
    admin.wait_until_idle()
    assert len(push.held()) == held
    assert [call.status for call in admin.calls("register")] == [202 if held else None]
    assert push.post("devices", push.device("other")).status_code == 202


def test_an_answer_can_be_broken_or_too_short(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault("register_batch", malformed=True)
    admin.add_fault("register_batch", short_array=True)
    devices = [push.device("a"), push.device("b")]
    broken = push.post("devices/batch", devices, TRACKED)
    with pytest.raises(ValueError, match="Unterminated string"):
        broken.json()
    assert len(push.post("devices/batch", devices, TRACKED).json()) == 1


def test_a_call_can_take_long_before_and_after_it_is_handled(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault("register", delay=0.2, answer_delay=0.3)
    began = time.time()
    push.post("devices", push.device())
    assert time.time() - began >= 0.5
    [call] = admin.calls("register")
    assert 0.2 <= call.at - began < 0.5
    admin.settings(latency=0.2)
    began = time.time()
    push.post("devices", push.device())
    assert time.time() - began >= 0.2


def test_a_rule_can_be_for_one_app_and_for_any_kind(push: Push, admin: SandboxAdmin) -> None:
    other = Push(push.client, admin, push.org, str(uuid.uuid4()))
    admin.put_app(other.org, other.app, other.api_token)
    admin.add_fault("*", times=None, app=push.app.upper(), status=503)
    for _ in range(2):
        assert push.post("devices", push.device()).status_code == 503
        assert other.post("devices", other.device()).status_code == 202
    assert [rule["used"] for rule in admin.faults()] == [2]
    admin.clear_faults()
    assert push.post("devices", push.device()).status_code == 202


def test_a_rule_that_makes_no_sense_is_refused(admin: SandboxAdmin) -> None:
    with pytest.raises(ValueError, match="unknown in an action: explode"):
        admin.add_fault("register", explode=True)
    with pytest.raises(ValueError, match="drop_connection is one of"):
        admin.add_fault("register", drop_connection="sometimes")
    with pytest.raises(ValueError, match="an outcome is one of"):
        admin.add_fault("register", outcome="Perhaps")


def test_what_becomes_of_the_registrations_of_one_call_can_be_said(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault("register_batch", outcome="FailedToStoreDevice")
    failed = push.register(push.device("a"), push.device("b"))
    passed = push.register(push.device("c"))
    admin.add_fault("register_batch", outcome="PendingStored")
    pending = push.register(push.device("d"))
    admin.wait_until_idle()
    failure = ("Failed", "FailedToStoreDevice")
    assert push.ask(*failed, *passed, *pending) == [failure, failure, ("Success", None), ("Pending", None)]
    assert {token for _, token in push.held()} == {"c", "d"}


def test_one_poison_item_has_every_batch_refused_that_it_is_in(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault("register_batch", times=None, poison=True)
    good, bad, other = push.device("good"), push.device("bad"), push.device("other")
    answers = [push.post("devices/batch", batch) for batch in ([good, bad], [good], [bad], [other, bad], [other])]
    assert [answer.status_code for answer in answers] == [400, 202, 400, 400, 202]
    [rule] = admin.faults()
    assert (rule["token"], rule["used"]) == ("bad", 3)


def test_a_rule_can_be_for_one_token_and_can_be_taken_away(push: Push, admin: SandboxAdmin) -> None:
    name = admin.add_fault("*", times=None, token="bad", status=503)
    admin.add_fault("register", times=None, poison=True, token="worse")
    answers = [push.post("devices", push.device(token)).status_code for token in ("bad", "worse", "good")]
    assert answers == [503, 400, 202]
    admin.remove_fault(name)
    assert push.post("devices", push.device("bad")).status_code == 202
    with pytest.raises(ValueError, match="no such rule"):
        admin.remove_fault(name)

"""Fault scripts: the same seed is the same script, and the sandbox plays it by itself."""

import dataclasses
import time
from collections.abc import Callable

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from sandbox.faults import CALLBACK
from sandbox.script import FAULTS, Step, make
from tests.sandbox.process import TRACKED, Push, Running
from tests.sandbox.test_entra import WHO_AM_I, ask


def test_the_same_seed_makes_the_same_script() -> None:
    assert make(1, 60) == make(1, 60) != make(2, 60)
    assert make(1, 30) == [step for step in make(1, 60) if step.at < 30]


def test_a_minute_has_every_fault_in_the_order_of_time() -> None:
    for seed in range(20):
        steps = make(seed, 60)
        assert {step.fault for step in steps} == FAULTS.keys()
        assert [step.at for step in steps] == sorted(step.at for step in steps)
        assert 0 <= steps[0].at <= steps[-1].at < 60


def test_weights_keep_faults_out_and_make_others_frequent() -> None:
    wanted = {"slow", "closed before"}
    steps = make(1, 600, weights={name: 0.0 for name in FAULTS if name not in wanted} | {"slow": 9.0})
    names = [step.fault for step in steps]
    assert set(names) == wanted
    assert names.count("slow") > 3 * names.count("closed before") > 0
    assert make(1, 60, weights=dict.fromkeys(FAULTS, 0.0)) == []
    with pytest.raises(ValueError, match="there is no fault sunspots"):
        make(1, 60, weights={"sunspots": 1.0})


def test_what_is_too_late_is_later_than_the_callers_deadline() -> None:
    steps = [step for seed in range(5) for step in make(seed, 60, deadline=2.0)]
    delays = {step.action.delay for step in steps if step.fault == "timed out, then handled"}
    delays |= {step.action.answer_delay for step in steps if step.fault == "handled, then timed out"}
    assert min(delays) > 2.0
    assert max(delays) < 3.0


def test_every_step_is_one_that_the_sandbox_takes(admin: SandboxAdmin) -> None:
    steps = [dataclasses.asdict(step) for step in make(3, 60, deadline=1.0)]
    assert admin.run_script(seed=3, duration=60, deadline=1.0) == steps
    assert admin.run_script(steps) == steps
    assert [Step.from_json(step) for step in steps] == make(3, 60, deadline=1.0)


def eventually(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def step(at: float = 0.0, **other: object) -> dict[str, object]:
    return {"at": at, "fault": "made up", **other}


def test_a_rule_comes_into_force_in_its_time_and_goes(push: Push, admin: SandboxAdmin) -> None:
    admin.run_script([step(0.4, kind="register", action={"status": 500}, times=None, lasts=0.4)])
    assert push.post("devices", push.device()).status_code == 202
    assert admin.script() == {"played": {}, "in_force": 0, "waiting": 1}
    eventually(lambda: push.post("devices", push.device()).status_code == 500)
    assert admin.script() == {"played": {"made up": 1}, "in_force": 1, "waiting": 0}
    eventually(lambda: push.post("devices", push.device()).status_code == 202)
    assert admin.script() == {"played": {"made up": 1}, "in_force": 0, "waiting": 0}
    assert admin.faults() == []


def test_a_setting_changes_and_is_then_what_it_was(admin: SandboxAdmin) -> None:
    admin.settings(signature_encoding="base64")
    admin.run_script(
        [
            step(settings={"signature_encoding": "base64url", "batch_cleanup_supported": False}, lasts=None),
            step(0.3, settings={"signature_encoding": "hex"}, lasts=0.3),
        ]
    )
    eventually(lambda: admin.settings()["signature_encoding"] == "base64url")
    admin.settings(latency=0.01)
    eventually(lambda: admin.settings()["signature_encoding"] == "hex")
    assert admin.settings()["batch_cleanup_supported"] is False
    eventually(lambda: admin.settings()["signature_encoding"] == "base64url")
    admin.stop_script()
    after = admin.settings()
    assert (after["signature_encoding"], after["batch_cleanup_supported"]) == ("base64", True)
    assert after["latency"] == 0.01


def test_a_new_script_ends_the_one_before(push: Push, admin: SandboxAdmin) -> None:
    own = admin.add_fault("status", status=500)
    admin.run_script([step(kind="register", action={"status": 500}, times=None, lasts=None)])
    eventually(lambda: admin.script()["in_force"] == 1)
    admin.run_script([step(60.0, revoke=True)])
    assert push.post("devices", push.device()).status_code == 202
    assert admin.script() == {"played": {}, "in_force": 0, "waiting": 1}
    assert [rule["name"] for rule in admin.faults()] == [own]


def test_access_tokens_are_revoked_by_a_script(admin: SandboxAdmin, client: httpx2.Client, running: Running) -> None:
    def signed_in() -> dict[str, str]:
        return {"Authorization": f"Bearer {ask(running, client).json()['access_token']}"}

    old = signed_in()
    assert client.get(WHO_AM_I, headers=old).status_code == 200
    admin.run_script([step(revoke=True)])
    eventually(lambda: client.get(WHO_AM_I, headers=old).status_code == 401)
    assert client.get(WHO_AM_I, headers=signed_in()).status_code == 200


def test_a_script_that_makes_no_sense_is_refused_and_changes_nothing(admin: SandboxAdmin) -> None:
    good = step(60.0, revoke=True)
    admin.run_script([good])
    for bad, message in (
        (step(settings={"latency": -1}), "latency is a number"),
        (step(kind="register", action={"explode": True}), "unknown in an action: explode"),
        (step(when=1), "unknown in a step: when"),
        ({"at": 1.0}, "fault"),
    ):
        with pytest.raises(ValueError, match=message):
            admin.run_script([bad])
    with pytest.raises(ValueError, match="there is no fault sunspots"):
        admin.run_script(seed=1, weights={"sunspots": 1.0})
    assert admin.script()["waiting"] == 1


def test_a_reset_forgets_the_script(push: Push, admin: SandboxAdmin) -> None:
    admin.run_script([step(kind="*", action={"status": 500}, times=None)])
    eventually(lambda: admin.script()["in_force"] == 1)
    admin.reset()
    assert admin.script() == {"played": {}, "in_force": 0, "waiting": 0}
    assert admin.faults() == []


def test_rules_for_callbacks_are_rules_for_callbacks_only(push: Push, admin: SandboxAdmin) -> None:
    admin.add_fault(CALLBACK, times=None, drop_connection="before")
    assert push.post("devices", push.device(), TRACKED).status_code == 202
    assert [rule["used"] for rule in admin.faults()] == [0]

"""Plan, claim, lease, settle: who may send what, and whose answer counts."""

from tests.mutations.mutation import Mutation

_OUTBOX = "tests/sync/test_outbox.py"
_LATE_CLEANUP = "tests/journeys/test_late_cleanup.py"
_PLAN = "tests/journeys/test_plan.py"
_OUTAGES = "tests/journeys/test_outages.py"
_URGENCY = "tests/journeys/test_urgency.py"
_REGISTRATION = "tests/journeys/test_registration.py"
_LANES = "tests/journeys/test_lanes.py"

TABLE = [
    Mutation(
        "A token that CI-J may hold for somebody is sent for nobody else",
        "sync/outbox.py",
        old="AND o.maybe_held AND o.id <> r.id",
        new="AND false",
        tests=(f"{_OUTBOX}::test_a_token_that_is_held_for_another_does_not_hold_up_the_rest_of_the_batch",),
    ),
    Mutation(
        "The database itself lets only one row of a token be held",
        "registry/migrations/0001_initial.py",
        old="models.Q(('maybe_held', True)), fields=('app', 'token_hash')",
        new="models.Q(('maybe_held', True)), fields=('app', 'dataverse_id', 'token_hash')",
        tests=(f"{_OUTBOX}::test_of_two_claims_that_cross_one_gets_the_token",),
    ),
    Mutation(
        "A claim that crosses another one's is given up, not fallen over",
        "sync/outbox.py",
        old="except IntegrityError:",
        new="except ZeroDivisionError:",
        tests=(f"{_OUTBOX}::test_of_two_claims_that_cross_one_gets_the_token",),
    ),
    Mutation(
        "Workers in parallel never claim the same row",
        "sync/outbox.py",
        old="    FOR UPDATE SKIP LOCKED\n",
        new="",
        tests=(f"{_OUTBOX}::test_workers_in_parallel_never_share_a_row",),
    ),
    Mutation(
        "A claim pushes the time past the lease",
        "sync/outbox.py",
        old="SET due_at = now() + %(lease)s, in_flight",
        new="SET due_at = now() + %(lease)s * 0, in_flight",
        tests=(f"{_OUTBOX}::test_a_claim_pushes_the_time_past_the_lease_and_notes_what_may_be_held",),
    ),
    Mutation(
        "What is claimed for sending counts as held from then on",
        "sync/outbox.py",
        old="set=\"state = 'ready', recheck = false, maybe_held = true,",
        new="set=\"state = 'ready', recheck = false,",
        tests=(f"{_OUTBOX}::test_a_claim_pushes_the_time_past_the_lease_and_notes_what_may_be_held",),
    ),
    Mutation(
        "A call's deadline is shorter than the lease",
        "tokenhub/checks.py",
        old="    if settings.TOKENHUB_CALL_DEADLINE >= settings.TOKENHUB_LEASE:\n",
        new="    if False:\n",
        tests=("tests/tokenhub/test_settings.py::test_a_bad_setting_is_named_with_a_hint",),
    ),
    Mutation(
        "No registration is sent that its lease may not outlast",
        "sync/steps/push.py",
        old="    if not lease.lasts_for_a_call():\n",
        new="    if False:\n",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "No outcome is asked for where its lease may not outlast that",
        "sync/steps/confirm.py",
        old="        if not lease.lasts_for_a_call():\n",
        new="        if False:\n",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "No array of cleanups is sent that its lease may not outlast",
        "sync/steps/cleanup.py",
        old='    if not lease.lasts_for_a_call():\n        raise NotMade("the lease ended before it was sent")\n',
        new="",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "No single cleanup is sent that its lease may not outlast",
        "sync/steps/cleanup.py",
        old="        if not lease.lasts_for_a_call():\n"
        '            raise NotMade("the lease ended before everything was sent")\n',
        new="",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "No look-up starts that its lease may not outlast",
        "sync/steps/map.py",
        old="        if time.monotonic() > ends:\n",
        new="        if False:\n",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "No event is sent that its lease may not outlast",
        "sync/clients/cij.py",
        old="(time.monotonic() > ends or silent >= at_once)",
        new="silent >= at_once",
        tests=(f"{_OUTAGES}::test_nothing_is_sent_that_its_lease_may_not_outlast",),
    ),
    Mutation(
        "An answer that came after its lease was lost changes no state",
        "sync/outbox.py",
        old="if row.claim_no == claimed.claim_no:",
        new="if True:",
        tests=(f"{_OUTBOX}::test_a_late_answer_changes_no_state_but_has_the_row_looked_at_again",),
    ),
    Mutation(
        "An answer that came late has an idle row looked at again",
        "sync/outbox.py",
        old='        change["due_at"] = now\n    if claimed.state',
        new="        pass\n    if claimed.state",
        tests=(f"{_OUTBOX}::test_a_late_answer_changes_no_state_but_has_the_row_looked_at_again",),
    ),
    Mutation(
        "A cleanup whose answer came after its lease may come to pass yet: the next registration is repeated then",
        "sync/outbox.py",
        old='        change["cleanup_echo_until"] = now + settings.TOKENHUB_CLEANUP_ECHO\n',
        new="        pass\n",
        tests=(f"{_LATE_CLEANUP}::test_so_may_one_whose_answer_came_after_its_lease",),
    ),
    Mutation(
        "An answer that came late while another held the lease is not forgotten when that one ends",
        "sync/outbox.py",
        old='if row.recheck and change.get("state", row.state) in IDLE:',
        new="if False:",
        tests=(f"{_OUTBOX}::test_a_late_answer_while_another_holds_the_lease_waits_for_its_end",),
    ),
    Mutation(
        "What is desired is read when settling, not when claiming",
        "registry/services/bulk.py",
        old="AND kept.xmin = %s::xid",
        new="AND %s::xid IS NOT NULL",
        tests=(f"{_OUTBOX}::test_what_is_desired_is_read_when_settling_not_when_claiming",),
    ),
    Mutation(
        "What a deadlock undid is decided anew of the row as it was claimed",
        "sync/outbox.py",
        old="change(_copy(row))",
        new="change(row)",
        tests=(f"{_OUTBOX}::test_what_a_deadlock_undid_is_decided_anew_of_the_row_as_it_was_claimed",),
    ),
    Mutation(
        "What quotes and parts the elements of an array is written as it is",
        "registry/services/bulk.py",
        old=""".replace("\\\\", "\\\\\\\\")""",
        new="",
        tests=(f"{_OUTBOX}::test_many_values_are_written_as_they_are",),
    ),
    Mutation(
        "A send that never left the house is not cleaned up",
        "sync/outbox.py",
        old="AND (r.state NOT IN ('ready', 'failed') OR r.maybe_held OR r.recheck)",
        new="",
        tests=(f"{_OUTBOX}::test_whose_turn_a_row_is_follows_from_its_state_and_what_is_desired",),
    ),
    Mutation(
        "What settles after an accepted cleanup is not cleaned up again meanwhile",
        "sync/outbox.py",
        old="AND (r.state <> 'retiring' OR r.cleaned_at IS NULL)",
        new="",
        tests=(f"{_OUTBOX}::test_whose_turn_a_row_is_follows_from_its_state_and_what_is_desired",),
    ),
    Mutation(
        "A send whose answer was lost is kept in mind by the next claim",
        "sync/outbox.py",
        old=" cleaned_at = NULL, unanswered_until = greatest(unanswered_until, undecided_until),",
        new=" cleaned_at = NULL,",
        tests=(f"{_OUTAGES}::test_a_send_without_an_answer_is_not_forgotten_when_the_next_one_fails",),
    ),
    Mutation(
        "So it is by a cleanup's claim",
        "sync/outbox.py",
        old="CASE WHEN request_id IS NULL THEN greatest(unanswered_until, undecided_until) ELSE unanswered_until END",
        new="unanswered_until",
        tests=("tests/journeys/test_erasure.py::test_a_registration_whose_answer_was_lost_is_waited_for",),
    ),
    Mutation(
        "A cleanup whose worker was killed may still come to pass: the next registration is repeated then",
        "sync/outbox.py",
        old="greatest(cleanup_echo_until, cleanup_sent_at + %(echo)s)",
        new="cleanup_echo_until",
        tests=("tests/journeys/test_late_cleanup.py::test_so_may_one_whose_worker_was_killed",),
    ),
    Mutation(
        "Urgent cleanups go first",
        "sync/outbox.py",
        old='order="r.urgent DESC, r.due_at"',
        new='order="r.due_at"',
        tests=(f"{_URGENCY}::test_a_phone_that_is_in_other_hands_is_cleaned_up_before_a_backlog",),
    ),
    Mutation(
        "A probe is made with the row that was refused least",
        "sync/outbox.py",
        old='order="r.attempts, r.due_at"',
        new='order="r.urgent DESC, r.due_at"',
        tests=(f"{_OUTBOX}::test_a_probe_is_made_with_what_was_refused_least",),
    ),
    Mutation(
        "A cleanup becomes urgent when somebody else waits for its token",
        "sync/steps/plan.py",
        old="            cursor.execute(_HURRY, parameters)\n",
        new="",
        tests=(f"{_URGENCY}::test_a_token_that_waits_for_its_cleanup_already_becomes_urgent_when_somebody_wants_it",),
    ),
    Mutation(
        "Known devices are planned before a flood of new ones",
        "sync/steps/plan.py",
        old="known = list(ids.filter(planned_revision__gt=0)[:limit])",
        new="known = list(ids[:limit])",
        tests=(f"{_URGENCY}::test_known_devices_are_planned_before_a_flood_of_new_ones",),
    ),
    Mutation(
        "The planner leaves a row that is in flight its time",
        "sync/steps/plan.py",
        old="    due_at = CASE WHEN r.in_flight THEN r.due_at\n",
        new="    due_at = CASE WHEN false THEN r.due_at\n",
        tests=(f"{_PLAN}::test_a_registration_that_is_being_sent_keeps_its_lease_when_it_is_no_longer_desired",),
    ),
    Mutation(
        "The planner leaves a desired row that is in flight, or whose outcome is asked for, its time",
        "sync/steps/plan.py",
        old="WHEN r.in_flight OR r.state IN ('sent', 'retiring') THEN r.due_at",
        new="WHEN r.state = 'none' THEN r.due_at",
        tests=(f"{_PLAN}::test_a_cleanup_that_is_being_sent_keeps_its_lease_when_it_is_desired_again",),
    ),
    Mutation(
        "A row that was sent without an answer is given time before it is cleaned up",
        "sync/steps/plan.py",
        old="""                      THEN greatest(now(), r.sent_at + %(patience)s)
                  ELSE now() END
FROM""",
        new="""                      THEN now()
                  ELSE now() END
FROM""",
        tests=(
            f"{_PLAN}::test_a_registration_without_an_answer_is_left_alone_for_a_while_when_it_is_no_longer_desired",
        ),
    ),
    Mutation(
        "After waiting for another planner, what is to be un-desired is looked at anew",
        "sync/steps/plan.py",
        old="""WHERE r.id = touched.id AND r.desired AND (
    r.device_id = ANY(%(devices)s::bigint[]) OR EXISTS (
        SELECT FROM unnest(%(apps)s::bigint[], %(hashes)s::bytea[]) AS w(app_id, token_hash)
        WHERE w.app_id = r.app_id AND w.token_hash = r.token_hash
    )
) AND NOT""",
        new="WHERE r.id = touched.id AND NOT",
        tests=(f"{_PLAN}::test_what_another_planner_has_given_to_another_device_stays_desired",),
    ),
    Mutation(
        "A device is locked while it is planned",
        "sync/steps/plan.py",
        old="ids = changed.select_for_update(skip_locked=True, no_key=True).values_list",
        new="ids = changed.values_list",
        tests=(f"{_PLAN}::test_a_change_that_is_not_committed_yet_is_planned_when_it_is",),
    ),
    Mutation(
        "Devices are locked before they are planned for a user who was found",
        "sync/steps/plan.py",
        old="theirs = Device.objects.select_for_update(no_key=True).filter(",
        new="theirs = Device.objects.filter(",
        tests=(f"{_PLAN}::test_a_phone_that_signs_out_while_its_user_is_found_is_nobody_s",),
    ),
    Mutation(
        "Its user is read in a second statement, after the lock",
        "sync/steps/plan.py",
        old="""    locked = _lock_changed(limit)
    # Read in a second statement: of a row that changed while the first waited, PostgreSQL locks the newest version
    # but would join the user as the older snapshot saw them. Writers of users lock the devices before they commit.
    devices = list(Device.objects.filter(bulk.among("pk", locked)).select_related("user").order_by("pk"))
""",
        new="""    changed = Device.objects.filter(revision__gt=F("planned_revision")).select_related("user")
    devices = list(changed.order_by("pk").select_for_update(of=("self",), skip_locked=True, no_key=True)[:limit])
""",
        tests=(f"{_PLAN}::test_a_change_that_comes_before_the_planner_has_the_lock_is_planned",),
    ),
    Mutation(
        "A change is un-marked by the planner that saw it",
        "sync/steps/plan.py",
        old='update(planned_revision=F("revision"))',
        new='update(planned_revision=F("revision") + 1)',
        tests=(f"{_REGISTRATION}::test_what_is_no_longer_desired_is_cleaned_up",),
    ),
    Mutation(
        "Where PostgreSQL ended a deadlock at our cost, the transaction begins anew",
        "registry/services/locking.py",
        old="if nested or attempt == MAX_ATTEMPTS or not isinstance(error.__cause__, DeadlockDetected):",
        new="if True:",
        tests=("tests/registry/test_races.py::test_where_two_transactions_wait_for_each_other_both_come_through",),
    ),
    Mutation(
        "What is claimed by or rested for is the database's time",
        "registry/services/clock.py",
        old="    found: datetime = row[0]\n",
        new="    from django.utils import timezone\n\n    found: datetime = timezone.now()\n",
        tests=(f"{_OUTBOX}::test_a_worker_whose_clock_is_wrong_keeps_the_settling_time",),
    ),
    Mutation(
        "The rolling check has devices planned anew whose mark was lost",
        "sync/steps/check.py",
        old="wrong = [device.pk for device in planned if believed[device.pk] != _wanted(device, mappings)]",
        new="wrong: list[int] = []",
        tests=("tests/journeys/test_check.py::test_a_lost_desire_is_found",),
    ),
    Mutation(
        "The rolling check goes on where it was left off",
        "sync/steps/check.py",
        old="    check.position = devices[-1].pk if len(devices) == BLOCK else 0\n",
        new="",
        tests=("tests/journeys/test_check.py::test_every_device_has_its_turn",),
    ),
    Mutation(
        "And begins anew after the last",
        "sync/steps/check.py",
        old="devices[-1].pk if len(devices) == BLOCK else 0",
        new="devices[-1].pk if devices else check.position",
        tests=("tests/journeys/test_check.py::test_every_device_has_its_turn",),
    ),
    Mutation(
        "A block is looked at in its time",
        "sync/steps/check.py",
        old=".filter(pk=1, due_at__lte=Now()).first()",
        new=".filter(pk=1).first()",
        tests=("tests/journeys/test_check.py::test_a_block_is_looked_at_in_its_time_and_not_before",),
    ),
    Mutation(
        "Nothing is desired of who has opted out",
        "registry/services/desired.py",
        old="    if not user.push_consent:\n        return DeviceState.OPTED_OUT\n",
        new="",
        tests=(f"{_REGISTRATION}::test_what_is_no_longer_desired_is_cleaned_up",),
    ),
    Mutation(
        "The rolling check wakes registrations that wait for nothing",
        "sync/steps/check.py",
        old="return in_transaction(_wake_stuck) + in_transaction(_check_block)",
        new="return in_transaction(_check_block)",
        tests=("tests/journeys/test_check.py::test_registrations_that_wait_for_nothing_go_on",),
    ),
    Mutation(
        "The rolling check looks a user up whose mapping was lost",
        "sync/steps/check.py",
        old="    DataverseMapping.objects.bulk_create(missing, ignore_conflicts=True)\n",
        new="",
        tests=("tests/journeys/test_check.py::test_a_user_without_a_mapping_is_looked_up",),
    ),
    Mutation(
        "One app that cannot be worked for does not stop the others",
        "sync/tasks.py",
        old="except Exception as error:",
        new="except ZeroDivisionError as error:",
        tests=(f"{_OUTAGES}::test_an_app_whose_secret_cannot_be_read_does_not_stop_the_others",),
    ),
    Mutation(
        "Whether much waits is found out by one lane",
        "sync/tasks.py",
        old="    if first < FULL:\n",
        new="    if first < 0:\n",
        tests=(f"{_LANES}::test_much_is_worked_on_at_once_and_little_is_not",),
    ),
    Mutation(
        "Lanes end when the task's time is up",
        "sync/tasks.py",
        old="while more and time.monotonic() < ends:",
        new="while more:",
        tests=(f"{_LANES}::test_all_lanes_end_when_the_time_is_up",),
    ),
]

"""Another connection to CI-J: nothing of the old one is forgotten, and nothing is sent to the wrong one."""

from tests.mutations.mutation import Mutation

_REPLACED = "tests/journeys/test_replaced_connection.py"
_ABANDONED = "tests/journeys/test_abandoned_connection.py"
_COMMANDS = "tests/registry/test_replaced_connections.py"

TABLE = [
    Mutation(
        "What was registered moves to the old connection, and is not desired there",
        "registry/services/connections.py",
        old="SET app_id = %(old)s, desired = false,",
        new="SET app_id = %(old)s,",
        tests=(f"{_REPLACED}::test_nothing_more_is_registered_under_the_old_connection",),
    ),
    Mutation(
        "Organisation, mobile app id and endpoint are replaced, never edited",
        "registry/admin/apps.py",
        old='readonly_fields = ("org_id", "mobile_app_id", "endpoint")',
        new="readonly_fields = ()",
        tests=(f"{_COMMANDS}::test_the_admin_does_not_edit_what_registrations_were_made_under",),
    ),
    Mutation(
        "What is in the air keeps its lease where it moves to",
        "registry/services/connections.py",
        old="WHEN NOT desired OR in_flight OR state = 'retiring' THEN due_at",
        new="WHEN NOT desired OR state = 'retiring' THEN due_at",
        tests=(f"{_REPLACED}::test_what_is_in_the_air_keeps_its_lease",),
    ),
    Mutation(
        "Every device is registered anew",
        "registry/services/connections.py",
        old="        marked_to=0,\n",
        new="",
        tests=(f"{_REPLACED}::test_everything_ends_registered_under_the_new_connection_and_cleaned_up_under_the_old",),
    ),
    Mutation(
        "A worker that knows the old connection claims nothing for the new one",
        "sync/outbox.py",
        old="AND connection_no = %(connection)s FOR SHARE SKIP LOCKED",
        new="FOR SHARE SKIP LOCKED",
        tests=(f"{_REPLACED}::test_a_worker_that_knows_the_old_connection_claims_nothing_afterwards",),
    ),
    Mutation(
        "Nor does it relay the new one's events",
        "sync/steps/relay.py",
        old="WHERE id = %(app)s AND connection_no = %(connection)s FOR SHARE SKIP LOCKED",
        new="WHERE id = %(app)s AND %(connection)s IS NOT NULL FOR SHARE SKIP LOCKED",
        tests=(f"{_REPLACED}::test_a_worker_that_knows_the_old_connection_claims_nothing_afterwards",),
    ),
    Mutation(
        "While registrations move to the old connection none is claimed",
        "sync/outbox.py",
        old=" FOR SHARE SKIP LOCKED",
        new="",
        tests=(f"{_REPLACED}::test_nothing_is_claimed_while_the_rows_move",),
    ),
    Mutation(
        "A failure under the old connection does not rest the new one",
        "sync/pauses.py",
        old="if isinstance(subject, MobileApp) and not _is_present(subject):",
        new="if False:",
        tests=(f"{_REPLACED}::test_an_answer_about_the_old_connection_does_not_rest_the_new_one",),
    ),
    Mutation(
        "Nor do failed test messages",
        "sync/steps/confirm.py",
        old="for row in settled if row.app_id == app.pk]",
        new="for row in settled]",
        tests=(f"{_REPLACED}::test_an_answer_about_the_old_connection_does_not_rest_the_new_one",),
    ),
    Mutation(
        "A pause of the old connection stays with it",
        "registry/services/connections.py",
        old="    Pause.objects.filter(app=app).update(app=old)\n",
        new="",
        tests=(f"{_REPLACED}::test_a_pause_of_the_old_connection_stays_with_it",),
    ),
    Mutation(
        "Privacy first, across connections: a token held for another under the old one is not registered under the new",
        "sync/outbox.py",
        old="                AND o.dataverse_id <> r.dataverse_id\n",
        new="                AND false\n",
        tests=(f"{_REPLACED}::test_a_phone_that_changes_hands_meanwhile_waits_for_the_cleanup_under_the_old_one",),
    ),
    Mutation(
        "The same user does not wait for the old connection",
        "sync/outbox.py",
        old="                AND o.dataverse_id <> r.dataverse_id\n",
        new="",
        tests=(f"{_REPLACED}::test_the_same_user_does_not_wait_for_the_old_connection",),
    ),
    Mutation(
        "Under the same mobile app a triple is registered when its cleanup is over",
        "sync/outbox.py",
        old="AND (o.maybe_held OR o.due_at IS NOT NULL OR o.cleanup_echo_until > now())",
        new="AND false",
        tests=(f"{_REPLACED}::test_under_the_same_mobile_app_the_cleanup_comes_before_the_registration",),
    ),
    Mutation(
        "And when no cleanup of it can come to pass any more",
        "sync/outbox.py",
        old=" OR o.cleanup_echo_until > now())",
        new=")",
        tests=(f"{_REPLACED}::test_there_it_waits_for_a_cleanup_that_may_still_come_to_pass",),
    ),
    Mutation(
        "What a phone in other hands has under the old connection goes first",
        "sync/steps/plan.py",
        old="        cursor.execute(_HURRY_REPLACED, parameters)\n",
        new="",
        tests=(f"{_REPLACED}::test_what_a_phone_in_other_hands_has_under_the_old_one_is_cleaned_up_first",),
    ),
    Mutation(
        "An erasure waits for the old connection too",
        "registry/services/erasure.py",
        old="rows = Registration.objects.filter(app__in=connections_of(erasure.app))",
        new="rows = Registration.objects.filter(app=erasure.app)",
        tests=(f"{_ABANDONED}::test_an_erasure_meanwhile_waits_for_the_old_connection_too",),
    ),
    Mutation(
        "It looks for what it waits for when nothing moves",
        "registry/services/connections.py",
        old='cursor.execute("SELECT FROM registry_mobileapp WHERE id = %s FOR SHARE", [app.pk])',
        new="pass",
        tests=(f"{_ABANDONED}::test_an_erasure_while_the_rows_move_waits_for_where_they_go",),
    ),
    Mutation(
        "It deletes the events that go there",
        "registry/services/erasure.py",
        old="| unknown, app__in=connections_of(app))",
        new="| unknown, app=app)",
        tests=(f"{_ABANDONED}::test_an_erasure_deletes_what_its_phone_reported_before_the_replacement",),
    ),
    Mutation(
        "Events that were not relayed go to the connection whose message it was",
        "registry/services/connections.py",
        old="    InteractionEvent.objects.filter(app=app, due_at__isnull=False).update(app=old)\n",
        new="",
        tests=(f"{_REPLACED}::test_events_that_were_not_relayed_go_to_the_connection_whose_message_it_was",),
    ),
    Mutation(
        "A receipt says what was written off with an abandoned connection",
        "registry/services/connections.py",
        old="        erasure.not_cleaned_up += count\n",
        new="",
        tests=(f"{_ABANDONED}::test_an_old_connection_that_is_gone_for_good_is_abandoned",),
    ),
    Mutation(
        "A replacement leaves the planner to others in between",
        "sync/steps/replace.py",
        old='    if waiting.values("pk")[:BATCH].count() == BATCH:\n        return 0\n',
        new="",
        tests=(f"{_REPLACED}::test_devices_are_marked_in_batches_while_few_wait_for_the_planner",),
    ),
    Mutation(
        "Nobody takes ids under which another app is still retired",
        "registry/services/apps.py",
        old="    refuse_taken(org, mobile_app)\n",
        new="",
        tests=(f"{_COMMANDS}::test_the_ids_of_another_app_are_refused_and_of_one_that_is_still_retired_there",),
    ),
]

"""Erasing and deleting: what waits for CI-J, and what must not be taken along."""

from tests.mutations.mutation import Mutation

_HYGIENE = "tests/journeys/test_hygiene.py"
_ERASURE = "tests/journeys/test_erasure.py"

TABLE = [
    Mutation(
        "An erasure waits until its registrations are over",
        "registry/services/purge.py",
        old="    return Q(\n        Q(unanswered_until__isnull=True)",
        new="    return Q(pk__gt=0) if now else Q(\n        Q(unanswered_until__isnull=True)",
        tests=(f"{_ERASURE}::test_cij_accepts_the_cleanup_before_the_data_go_and_a_receipt_stays",),
    ),
    Mutation(
        "What was sent without an answer is not over before its time is",
        "registry/services/purge.py",
        old="        Q(unanswered_until__isnull=True) | Q(unanswered_until__lt=Now()),\n",
        new="",
        tests=(f"{_HYGIENE}::test_only_what_cij_has_forgotten_for_good_is_over",),
    ),
    Mutation(
        "And that time is the database's",
        "registry/services/purge.py",
        old="Q(unanswered_until__lt=Now())",
        new="Q(unanswered_until__lt=timezone.now())",
        tests=(f"{_HYGIENE}::test_nothing_is_over_sooner_where_a_clock_is_fast",),
    ),
    Mutation(
        "What CI-J may hold is not over",
        "registry/services/purge.py",
        old="        maybe_held=False,\n",
        new="",
        tests=(f"{_HYGIENE}::test_only_what_cij_has_forgotten_for_good_is_over",),
    ),
    Mutation(
        "What an answer came late for is not over",
        "registry/services/purge.py",
        old="        recheck=False,\n",
        new="",
        tests=(f"{_HYGIENE}::test_only_what_cij_has_forgotten_for_good_is_over",),
    ),
    Mutation(
        "What comes between the look at an erasure and its end is seen",
        "registry/services/erasure.py",
        old="    if state is not ErasureState.FORCED and (waiting or not planned):\n        return False\n",
        new="",
        tests=(f"{_ERASURE}::test_an_answer_that_comes_between_the_look_and_the_end_is_seen",),
    ),
    Mutation(
        "An erasure leaves alone what another user's device desires who is the same record",
        "registry/services/erasure.py",
        old='rest.exclude(pk__in=of_others.values("pk")).update(erasure=erasure)',
        new="rest.update(erasure=erasure)",
        tests=(f"{_ERASURE}::test_of_two_users_who_are_one_contact_only_the_erased_ones_devices_go",),
    ),
    Mutation(
        "What is still to be cleaned up is not purged",
        "registry/services/purge.py",
        old="        is_over(),\n        Q(cleaned_at",
        new="        Q(cleaned_at",
        tests=(f"{_HYGIENE}::test_nothing_that_is_still_to_be_cleaned_up_is_purged",),
    ),
    Mutation(
        "What a new user desires is not deleted with the erased one",
        "sync/steps/plan.py",
        old="erasure_id = NULL, ",
        new="",
        tests=(f"{_ERASURE}::test_an_erased_user_who_comes_back_at_once_with_the_same_token_is_registered_again",),
    ),
    Mutation(
        "An erasure waits for what its user left on somebody else's phone",
        "registry/services/erasure.py",
        old="    if record is not None:\n        of_others",
        new="    if False:\n        of_others",
        tests=(f"{_ERASURE}::test_what_the_user_left_on_a_phone_of_somebody_else_is_waited_for_too",),
    ),
    Mutation(
        "A forced end leaves alone what another device desires",
        "registry/services/erasure.py",
        old="        linked.filter(desired=True).exclude(device__in=devices).update(erasure=None)\n",
        new="        pass\n",
        tests=(f"{_ERASURE}::test_a_forced_end_leaves_alone_what_another_device_desires",),
    ),
    Mutation(
        "A forced end needs a note",
        "registry/services/erasure.py",
        old='        raise InvalidInput("note", "Say why it is forced.")\n',
        new="        pass\n",
        tests=(f"{_ERASURE}::test_a_forced_end_needs_a_note_and_says_what_cij_may_still_hold",),
    ),
    Mutation(
        "An overdue erasure raises an alert",
        "sync/alerts.py",
        old="*_overdue(now, scope), ",
        new="",
        tests=("tests/sync/test_alerts.py::test_overdue_erasures_are_told_once_an_app_until_they_are_over",),
    ),
]

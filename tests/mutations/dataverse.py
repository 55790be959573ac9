"""Mappings: sticky, never lost by mistake, never older than what the phone posted."""

from tests.mutations.mutation import Mutation

_LOOKUPS = "tests/journeys/test_lookups.py"
_RECHECK = "tests/journeys/test_recheck.py"
_CHANGES = "tests/journeys/test_changes.py"

TABLE = [
    Mutation(
        "Deletions that change tracking told of do not count for the fuse",
        "sync/steps/recheck.py",
        old="told = {mapping.pk for mapping in claimed if mapping.told_deleted} & lost",
        new="told: set[int] = set()",
        tests=(f"{_CHANGES}::test_deletions_that_are_told_of_do_not_pause_the_environment_however_many",),
    ),
    Mutation(
        "They hide no other losses",
        "sync/steps/recheck.py",
        old="    counted = len(ends) - len(told)\n",
        new="    counted, lost = 0, told\n",
        tests=(f"{_CHANGES}::test_among_losses_that_nobody_told_of_they_alone_are_believed",),
    ),
    Mutation(
        "Nor do they end a pause for losses",
        "sync/steps/recheck.py",
        old="        if counted:  # else nothing was seen of what others may have lost\n",
        new="        if True:\n",
        tests=(f"{_CHANGES}::test_a_deletion_that_was_told_of_ends_no_pause_for_losses",),
    ),
    Mutation(
        "A mapping is sticky: duplicates that appear later are not followed",
        "sync/steps/map.py",
        old="if mapping.state == MappingState.MAPPED and mapping.dataverse_id in answer.candidates:",
        new="if False:",
        tests=(f"{_LOOKUPS}::test_a_mapped_user_whose_new_address_is_theirs_and_another_s_stays",),
    ),
    Mutation(
        "A mapped user whose new address leads nowhere stays mapped",
        "sync/steps/map.py",
        old="        if mapping.state == MappingState.MAPPED:\n            return base |",
        new="        if False:\n            return base |",
        tests=(f"{_LOOKUPS}::test_a_mapped_user_whose_new_address_leads_nowhere_stays",),
    ),
    Mutation(
        "Of several records none is guessed",
        "sync/steps/map.py",
        old="MappingState.MAPPED if len(candidates) == 1 else MappingState.AMBIGUOUS",
        new="MappingState.MAPPED",
        tests=("tests/journeys/test_registration.py::test_several_active_records_are_ambiguous_and_never_guessed",),
    ),
    Mutation(
        "Who could not be looked up in every table is not said to be unknown",
        "sync/steps/map.py",
        old="    if refusal is None:\n        for user",
        new="    if True:\n        for user",
        tests=("tests/journeys/test_outages.py::test_a_table_that_dataverse_does_not_have_does_not_stop_the_others",),
    ),
    Mutation(
        "An answer about a user's former address is dropped",
        "sync/steps/map.py",
        old="if mapping.claim_no != claim_nos[mapping.pk]:",
        new="if False:",
        tests=(f"{_RECHECK}::test_an_answer_about_a_user_who_changed_meanwhile_is_dropped",),
    ),
    Mutation(
        "A new address outdates the question that is in the air",
        "registry/services/users.py",
        old='update(due_at=Now(), attempts=0, claim_no=F("claim_no") + 1)',
        new="update(due_at=Now(), attempts=0)",
        tests=(
            "tests/registry/test_devices_api.py::test_a_new_address_is_looked_up_and_drops_the_answer_about_the_old_one",
        ),
    ),
    Mutation(
        "Where a mapping moves, its devices are planned again",
        "sync/steps/map.py",
        old="    mark_devices(moved)\n",
        new="",
        tests=(f"{_RECHECK}::test_a_merged_contact_is_followed_to_the_last_master",),
    ),
    Mutation(
        "Many mappings lost at once pause the environment instead",
        "sync/steps/recheck.py",
        old="return too_many and not (until and until > clock.now())",
        new="return False",
        tests=(f"{_RECHECK}::test_many_lost_at_once_pause_the_environment_until_the_records_are_back",),
    ),
    Mutation(
        "A person can accept the loss",
        "sync/steps/recheck.py",
        old="return too_many and not (until and until > clock.now())",
        new="return too_many",
        tests=(f"{_RECHECK}::test_a_person_can_accept_the_loss",),
    ),
    Mutation(
        "What a person accepted ends with a re-check that loses few",
        "sync/steps/recheck.py",
        old=".update(losses_accepted_until=None)",
        new=".exists()",
        tests=(f"{_RECHECK}::test_a_person_can_accept_the_loss",),
    ),
    Mutation(
        "Resuming for another reason accepts no loss",
        "sync/pauses.py",
        old="            if lost:\n",
        new="            if True:\n",
        tests=(f"{_RECHECK}::test_resuming_for_another_reason_accepts_nothing",),
    ),
    Mutation(
        "The probe of a single record loses nobody",
        "sync/steps/recheck.py",
        old="    if gate.limit < BATCH:\n",
        new="    if False:\n",
        tests=(f"{_RECHECK}::test_the_probe_after_another_pause_loses_nobody",),
    ),
    Mutation(
        "Lost mappings are probed by a whole re-check, and look-ups rest with them",
        "sync/pauses.py",
        old="        probe = full if rechecks else 0\n",
        new="        probe = 1\n",
        tests=(f"{_RECHECK}::test_many_lost_at_once_pause_the_environment_until_the_records_are_back",),
    ),
    Mutation(
        "A probe of lost mappings that does not come through leaves them in doubt",
        "sync/pauses.py",
        old="if is_for_losses(pause) or throttled:",
        new="if throttled:",
        tests=(f"{_RECHECK}::test_a_throttled_probe_of_lost_mappings_forgets_nothing",),
    ),
    Mutation(
        "A worker that lost its lease moves no change feed's link",
        "sync/steps/changes.py",
        old="ChangeFeed.objects.filter(pk=feed.pk, claim_no=feed.claim_no)",
        new="ChangeFeed.objects.filter(pk=feed.pk)",
        tests=(f"{_CHANGES}::test_a_worker_that_lost_its_lease_moves_no_link",),
    ),
    Mutation(
        "A feed's link is written after what its page made due",
        "sync/steps/changes.py",
        old="            page = _read(client, table, feed)\n",
        new="            page = client.changes(table, list(records.COLUMNS[DataverseTable(feed.table)]), feed.link)\n",
        tests=(f"{_CHANGES}::test_a_deletion_is_cleaned_up_at_once",),
    ),
]

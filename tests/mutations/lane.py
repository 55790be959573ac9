"""The lane in front of Django: it may be slow, and never wrong."""

from tests.mutations.mutation import Mutation

_LANE = "tests/registry/test_lane.py"
_SOON = "tests/registry/test_soon.py"
_REPEATS = "registry/services/repeats.py"
_PLAIN_CHANGES = "registry/services/plain_changes.py"

TABLE = [
    Mutation(
        "A text with a NUL is not what it begins with",
        "registry/api/lane.py",
        old="isinstance(value, str) and value.isprintable() and",
        new="isinstance(value, str) and",
        tests=(f"{_LANE}::test_a_text_with_a_nul_is_not_what_it_begins_with",),
    ),
    Mutation(
        "A text that the ordinary path would trim is left to it",
        "registry/api/lane.py",
        old=" and value == value.strip()",
        new="",
        tests=(f"{_LANE}::test_a_text_that_would_be_trimmed_is_left_to_django",),
    ),
    Mutation(
        "The lane believes a key for as long as everybody does",
        "registry/services/keys.py",
        old="if known is None or now >= known.believed_until:",
        new="if known is None:",
        tests=(f"{_LANE}::test_a_key_that_was_not_read_anew_is_believed_no_longer_than_any",),
    ),
    Mutation(
        "A key is read anew for one launch, not for all that come at that moment",
        "registry/services/keys.py",
        old=" and known.renewal.acquire(blocking=False)",
        new="",
        tests=(f"{_LANE}::test_one_launch_has_the_key_read_anew_and_the_others_take_the_lane_meanwhile",),
    ),
    Mutation(
        "The launch that reads the key reads the issuer, too",
        "registry/services/user_tokens.py",
        old="_is_fresh(known, part=0.5)",
        new="_is_fresh(known)",
        tests=(f"{_LANE}::test_the_launch_that_reads_the_key_reads_the_issuer_too",),
    ),
    Mutation(
        "Who asks while it is done has it done again",
        "registry/services/soon.py",
        old="            self._asked.clear()  # before it runs: it may have looked already when the next one asks\n"
        "            self._function()\n",
        new="            self._function()\n            self._asked.clear()\n",
        tests=(f"{_SOON}::test_who_asks_while_it_is_done_has_it_done_again",),
    ),
    Mutation(
        "A process that is forked off has a thread of its own",
        "registry/services/soon.py",
        old="        os.register_at_fork(after_in_child=self._begin)\n",
        new="",
        tests=(f"{_SOON}::test_a_process_that_is_forked_off_has_a_thread_of_its_own",),
    ),
    Mutation(
        "A remembered user token expires",
        "registry/services/user_tokens.py",
        old="elif proven.expires_at <= time.time() - known.issuer.leeway:",
        new="elif False:",
        tests=(f"{_LANE}::test_the_same_user_token_takes_the_lane_until_it_expires",),
    ),
    Mutation(
        "A remembered user token goes with the key that proved it",
        "registry/services/user_tokens.py",
        old="if known and known.basis == basis:",
        new="if known:",
        tests=(f"{_LANE}::test_a_user_token_is_worth_nothing_once_its_key_is_replaced",),
    ),
    Mutation(
        "A remembered user token is good for its own installation only",
        "registry/services/user_tokens.py",
        old="if known.issuer.installation_claim and proven.installation != installation_id:",
        new="if False:",
        tests=(f"{_LANE}::test_a_user_token_for_another_installation_is_refused_though_it_was_good_for_its_own",),
    ),
    Mutation(
        "A phone of the lane shows its installation's secret",
        _REPEATS,
        old="($13::bytea IS NULL OR d.secret_shown AND d.secret_hash = $13)",
        new="($13::bytea IS NULL OR true)",
        tests=(f"{_LANE}::test_a_phone_that_shows_its_secret_takes_the_lane_too",),
    ),
    Mutation(
        "A retired device lives again when it posts",
        _REPEATS,
        old=" AND d.retired_at IS NULL\n",
        new="\n",
        tests=(f"{_LANE}::test_what_was_changed_by_others_is_seen_at_once",),
    ),
    Mutation(
        "Last-seen is written now and then",
        _REPEATS,
        old="    AND d.last_seen >= now() - $5::interval\n",
        new="    AND $5::interval IS NOT NULL\n",
        tests=(f"{_LANE}::test_last_seen_is_still_written_now_and_then",),
    ),
    Mutation(
        "The first launch after a restore is none that changes nothing",
        _REPEATS,
        old="r.started_at >= d.last_seen",
        new="r.started_at IS NULL",
        tests=(f"{_LANE}::test_the_first_launch_after_a_restore_has_its_registration_proven",),
    ),
    Mutation(
        "A request of the lane is counted once",
        "registry/api/throttling.py",
        old="counted = request.META.pop(COUNTED, None)",
        new="counted = None",
        tests=(f"{_LANE}::test_a_request_that_goes_on_to_django_is_counted_once",),
    ),
    Mutation(
        "A token that the lane renews is renewed by who has the installation's secret",
        _PLAIN_CHANGES,
        old="($13::bytea IS NULL OR d.secret_shown AND d.secret_hash = $13::bytea)",
        new="($13::bytea IS NULL OR true)",
        tests=(f"{_LANE}::test_a_new_phone_gets_its_secret_by_the_lane_and_renews_its_token_with_it",),
    ),
    Mutation(
        "What the lane renews is planned anew",
        _PLAIN_CHANGES,
        old="revision = d.revision + 1",
        new="revision = d.revision",
        tests=(f"{_LANE}::test_plain_changes_never_reach_django",),
    ),
    Mutation(
        "The look-up of a new user tells the post that it comes of",
        _PLAIN_CHANGES,
        old="now(), $20::uuid FROM made",
        new="now(), NULL::uuid FROM made",
        tests=(f"{_LANE}::test_plain_changes_never_reach_django",),
    ),
    Mutation(
        "Whoever is refused does not have the database asked",
        "registry/api/lane.py",
        old="    if any(count.exceeded for count in counts):\n",
        new="    if False:\n",
        tests=(f"{_LANE}::test_whoever_is_refused_costs_the_database_nothing",),
    ),
    Mutation(
        "An answer that nobody read is not the next one's",
        "registry/services/own_connection.py",
        old="        forget_connection()  # or the next one would read this answer\n",
        new="",
        tests=(f"{_LANE}::test_an_answer_that_nobody_read_is_not_given_to_the_next_who_asks",),
    ),
    Mutation(
        "What the lane wrote is announced",
        _PLAIN_CHANGES,
        old="    say_soon(steps)\n",
        new="",
        tests=(f"{_LANE}::test_the_lane_announces_what_it_wrote",),
    ),
    Mutation(
        "A user's further phones are left to who counts them",
        _PLAIN_CHANGES,
        old=" AND NOT $21::bool AND ",
        new=" AND ($21::bool OR true) AND ",
        tests=(f"{_LANE}::test_what_is_not_plain_is_left_to_django",),
    ),
]

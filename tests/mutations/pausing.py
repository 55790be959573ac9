"""Rests: whom they hold up, how they end, and what they must not cost."""

from tests.mutations.mutation import Mutation

_STATUS = "tests/sync/test_status.py"
_PAUSES = "tests/sync/test_pauses.py"
_OUTAGES = "tests/journeys/test_outages.py"
_WAVES = "tests/journeys/test_waves.py"
_REGISTRATION = "tests/journeys/test_registration.py"
_URGENCY = "tests/journeys/test_urgency.py"

TABLE = [
    Mutation(
        "Of an app that rests nothing passes",
        "sync/pauses.py",
        old="return Gate(subject, probe if pause.until <= clock.now() else 0, pause, probes=True)",
        new="return Gate(subject, probe, pause, probes=True)",
        tests=(f"{_STATUS}::test_resuming_by_hand_ends_the_pause",),
    ),
    Mutation(
        "When its time has come one small request probes",
        "sync/pauses.py",
        old="    probe = 1\n",
        new="    probe = full\n",
        tests=(f"{_STATUS}::test_when_its_time_has_come_one_request_probes",),
    ),
    Mutation(
        "The tenth call in a row without an answer opens the circuit",
        "sync/pauses.py",
        old="if pause.reason == PauseReason.UNAVAILABLE and pause.failures < settings.TOKENHUB_CIRCUIT_FAILURES:",
        new="if pause.reason == PauseReason.UNAVAILABLE:",
        tests=(f"{_STATUS}::test_the_tenth_call_in_a_row_without_an_answer_opens_the_circuit",),
    ),
    Mutation(
        "Retry-After is honoured",
        "sync/clients/http.py",
        old='retry_after(headers.get("retry-after", ""))',
        new="1.0",
        tests=("tests/sync/test_http.py::test_what_an_answer_means",),
    ),
    Mutation(
        "A pause is not made shorter by the next failure",
        "sync/pauses.py",
        old="max(now + _wait(error, reason, pause.failures), earlier)",
        new="now + _wait(error, reason, pause.failures)",
        tests=(f"{_PAUSES}::test_the_longest_of_several_waits_that_were_asked_for_holds",),
    ),
    Mutation(
        "Silence does not take the place of a pause for another reason",
        "sync/pauses.py",
        old="            return None  # silence says nothing new of one that is throttled or refuses our credentials\n",
        new="            pass\n",
        tests=(f"{_PAUSES}::test_silence_says_nothing_new_of_one_that_asked_us_to_wait",),
    ),
    Mutation(
        "A success ends only the pause that it probed",
        "sync/pauses.py",
        old='seen = {"pk": noted.pk, "reason": noted.reason, "failures": noted.failures}',
        new='seen = {"pk": noted.pk}',
        tests=(f"{_PAUSES}::test_a_call_that_was_answered_well_does_not_end_a_pause_that_came_meanwhile",),
    ),
    Mutation(
        "Workers that fail together write one pause",
        "sync/pauses.py",
        old='    lock(f"pause:{type(subject).__name__}:{subject.pk}:{platform}")\n',
        new="",
        tests=(f"{_PAUSES}::test_workers_that_fail_at_the_same_time_write_one_pause_and_count_both",),
    ),
    Mutation(
        "A probe for credentials asks the call that checks them",
        "sync/pauses.py",
        old="if self.noted is None or self.noted.reason not in FOR_CREDENTIALS:",
        new="if True:",
        tests=(f"{_WAVES}::test_a_probe_that_is_accepted_ends_no_pause_while_the_api_token_is_wrong",),
    ),
    Mutation(
        "What was sent with wrong credentials is sent again when they are right",
        "sync/pauses.py",
        old="            send_again(self.subject)\n",
        new="            pass\n",
        tests=(f"{_WAVES}::test_what_was_sent_with_a_wrong_api_token_is_sent_again_when_it_is_right",),
    ),
    Mutation(
        "So it is where the worker dies in between",
        "sync/pauses.py",
        old="in_transaction(partial(self._end, self.noted))",
        new="self._end(self.noted)",
        tests=(f"{_WAVES}::test_a_worker_that_dies_while_it_ends_a_pause_leaves_it_to_the_next_probe",),
    ),
    Mutation(
        "Whether the credentials are good is not forgotten while it is throttled",
        "sync/pauses.py",
        old="if is_for_losses(pause) or throttled:",
        new="if is_for_losses(pause):",
        tests=(f"{_PAUSES}::test_whether_the_credentials_are_good_is_not_forgotten_while_it_is_throttled",),
    ),
    Mutation(
        "Of all workers one probes",
        "sync/pauses.py",
        old="if claimed and self._takes_turn():",
        new="if claimed:",
        tests=(f"{_OUTAGES}::test_of_all_workers_one_probes",),
    ),
    Mutation(
        "The time that keeps other probes away is no rest",
        "sync/pauses.py",
        old="if pause.pk and pause.until != probed_until else now",
        new="if pause.pk else now",
        tests=(f"{_PAUSES}::test_a_probe_that_fails_rests_for_no_longer_than_it_was_asked_to",),
    ),
    Mutation(
        "A lease that ended before all was sent is no outage",
        "sync/pauses.py",
        old="        if isinstance(error, NotMade):\n            return\n",
        new="",
        tests=("tests/journeys/test_cleanups.py::test_single_ones_that_outlast_the_lease_are_no_outage",),
    ),
    Mutation(
        "A request id is not thrown away while it is asked about",
        "sync/pauses.py",
        old="sent = Registration.objects.filter(app=app, state=RegistrationState.SENT, desired=True, in_flight=False)",
        new="sent = Registration.objects.filter(app=app, state=RegistrationState.SENT, desired=True)",
        tests=(f"{_WAVES}::test_what_is_sent_again_leaves_out_whose_request_id_is_needed",),
    ),
    Mutation(
        "What was cleaned up early keeps its request id until it is decided",
        "sync/pauses.py",
        old="return sent.filter(cleaned_at__isnull=True).update(",
        new="return sent.update(",
        tests=(f"{_WAVES}::test_what_is_sent_again_leaves_out_whose_request_id_is_needed",),
    ),
    Mutation(
        "ApiTokenNotValid pauses the app",
        "sync/steps/confirm.py",
        old='        error = Denied("ApiTokenNotValid")\n',
        new="        pass\n",
        tests=(f"{_WAVES}::test_an_outcome_of_api_token_not_valid_pauses_the_app_and_costs_no_token",),
    ),
    Mutation(
        "An empty token bucket holds",
        "sync/pauses.py",
        old="if isinstance(subject, MobileApp) and connect.bucket(subject).is_empty() and not may_overdraw():",
        new="if False:",
        tests=(f"{_URGENCY}::test_without_anything_urgent_an_empty_token_bucket_holds",),
    ),
    Mutation(
        "An urgent cleanup does not wait for it",
        "sync/pauses.py",
        old="connect.bucket(subject).is_empty() and not may_overdraw():",
        new="connect.bucket(subject).is_empty():",
        tests=(f"{_URGENCY}::test_an_urgent_cleanup_does_not_wait_for_an_empty_token_bucket",),
    ),
    Mutation(
        "Every call is counted in the bucket",
        "sync/clients/cij.py",
        old="        self._before_call()\n",
        new="",
        tests=(f"{_OUTAGES}::test_every_call_of_a_batch_that_is_taken_apart_is_counted",),
    ),
    Mutation(
        "Many failed test messages in a row pause their platform",
        "sync/waves.py",
        old="    closed = list(Pause.objects.filter(",
        new="    closed = list(Pause.objects.none().filter(",
        tests=(f"{_WAVES}::test_while_a_wave_lasts_one_registration_at_a_time_probes",),
    ),
    Mutation(
        "Failed test messages among successes are no wave",
        "sync/waves.py",
        old="if any(state == RegistrationState.REGISTERED for state, _ in states):",
        new="if False:",
        tests=(f"{_WAVES}::test_dead_tokens_among_living_ones_are_no_wave",),
    ),
    Mutation(
        "A wave has what it failed from its first on queued again",
        "sync/waves.py",
        old="decided_at__gte=pause.created_at,",
        new="decided_at__gte=clock.now(),",
        tests=(f"{_WAVES}::test_a_wave_may_come_slowly_and_what_it_failed_from_its_first_on_is_tried_again",),
    ),
    Mutation(
        "One registration probes a wave, however many workers look",
        "sync/waves.py",
        old="if limit and due.update(until=clock.now() + settings.TOKENHUB_PROBE):",
        new="if limit and due.exists():",
        tests=(f"{_WAVES}::test_one_registration_probes_a_wave_however_many_workers_look",),
    ),
    Mutation(
        "A wave counts what failed, wherever the worker dies",
        "sync/steps/confirm.py",
        old="in_transaction(note))",
        new="note())",
        tests=(f"{_WAVES}::test_a_worker_that_dies_before_it_counts_costs_the_wave_no_token",),
    ),
    Mutation(
        "Workers that count failed test messages together lose none",
        "sync/pauses.py",
        old='    lock(f"pause:{type(subject).__name__}:{subject.pk}:{platform}")\n',
        new="",
        tests=(f"{_WAVES}::test_workers_that_count_failed_test_messages_together_lose_none",),
    ),
]

"""The ingest API: who gets in, how often, and with what."""

from tests.mutations.mutation import Mutation

_KEYS = "tests/registry/test_keys.py"
_LIMITS = "tests/registry/test_limits.py"
_EVENTS = "tests/registry/test_events_api.py"
_DROP_IN = "tests/registry/test_dropin_api.py"
_IMPORT = "tests/registry/test_import_api.py"
_IMPORT_COMMAND = "tests/registry/test_import_command.py"

TABLE = [
    Mutation(
        "A revoked key is refused when the cache's time is over",
        "registry/services/keys.py",
        old=".filter(key_hash=key_hash, revoked_at__isnull=True)",
        new=".filter(key_hash=key_hash)",
        tests=(f"{_KEYS}::test_other_processes_refuse_a_revoked_key_when_their_time_is_over",),
    ),
    Mutation(
        "A refused request is counted nowhere",
        "registry/services/limits.py",
        old="            if max(used) <= WINDOW:\n",
        new="            if used:\n",
        tests=(f"{_LIMITS}::test_a_refused_request_changes_nothing_and_is_not_counted",),
    ),
    Mutation(
        "Who tries keys is limited",
        "registry/api/authentication.py",
        old="            refuse_strangers(request._request)",
        new="            pass",
        tests=(f"{_LIMITS}::test_who_tries_keys_is_limited",),
    ),
    Mutation(
        "Only a trusted proxy is believed",
        "registry/services/limits.py",
        old="while client is not None and hops and _is_among(client, trusted):",
        new="while client is not None and hops:",
        tests=(f"{_LIMITS}::test_an_invented_forwarded_address_does_not_help",),
    ),
    Mutation(
        "A Valkey that does not answer is left alone for a while",
        "registry/services/limits.py",
        old="            time.sleep(REST)\n",
        new="",
        tests=(f"{_LIMITS}::test_without_valkey_a_process_limits_for_itself_and_the_log_says_so_once",),
    ),
    Mutation(
        "What Valkey answers and nobody reads is given to nobody else",
        "registry/services/valkey.py",
        old="        self._own.connection = None\n",
        new="",
        tests=(f"{_LIMITS}::test_an_answer_that_nobody_read_is_not_given_to_the_next_who_asks",),
    ),
    Mutation(
        "An event of a secured installation needs its secret",
        "registry/services/events.py",
        old="report.installation_id and not _is_proven(device, secret)",
        new="False",
        tests=(f"{_EVENTS}::test_an_event_of_a_secured_installation_needs_its_secret",),
    ),
    Mutation(
        "The drop-in paths need the app's ApiToken",
        "registry/services/dropin.py",
        old="if not proves(app, api_token) or app is None:",
        new="if app is None:",
        tests=(f"{_DROP_IN}::test_bad_registrations_are_refused_and_none_of_a_batch_is_taken",),
    ),
    Mutation(
        "The drop-in paths are off unless switched on",
        "registry/services/dropin.py",
        old="    if not app.drop_in:\n        raise SwitchedOff\n",
        new="",
        tests=(f"{_DROP_IN}::test_an_app_that_is_not_switched_on_takes_nothing",),
    ),
    Mutation(
        "A cleanup without a token takes the drop-in devices alone",
        "registry/services/dropin.py",
        old="installation_id__startswith=INSTALLATION, user__external_id",
        new="user__external_id",
        tests=(f"{_DROP_IN}::test_a_cleanup_leaves_what_the_app_itself_posted",),
    ),
    Mutation(
        "An import does not overwrite what the phone told since",
        "registry/services/imports.py",
        old="launch.seen_at < device.last_seen",
        new="False",
        tests=(f"{_IMPORT}::test_what_the_phone_told_since_is_not_overwritten",),
    ),
    Mutation(
        "Rows of an import that meet go one by one",
        "registry/services/imports.py",
        old="known, entangled = _known(app, launches), _entangled(launches)",
        new="known, entangled = _known(app, launches), set[int]()",
        tests=(f"{_IMPORT}::test_of_two_rows_that_meet_the_later_counts",),
    ),
    Mutation(
        "An import checks foreign keys by index, however small the tables were when the plan was made",
        "registry/services/new_devices.py",
        old=", set_config('enable_seqscan', 'off', true)",
        new="",
        tests=(f"{_IMPORT}::test_rows_are_found_by_index_however_small_the_tables_were",),
    ),
    Mutation(
        "Rows of an import are found by their own index, whatever PostgreSQL believes of the app",
        "registry/services/new_devices.py",
        old="""WHERE app_id = (SELECT %(app)s::bigint)
    AND installation_id""",
        new="""WHERE app_id = %(app)s
    AND installation_id""",
        tests=(f"{_IMPORT}::test_rows_of_an_app_that_the_statistics_do_not_know_are_found_by_their_own_index",),
    ),
    Mutation(
        "An import has tables analysed that were nearly empty",
        "registry/management/commands/import_devices.py",
        old="if number == 0 and not self._dry:",
        new="if False:",
        tests=(f"{_IMPORT_COMMAND}::test_tables_that_were_nearly_empty_are_analysed_after_the_first_rows",),
    ),
    Mutation(
        "The thread that checks an import leaves off soon",
        "registry/management/commands/import_devices.py",
        old="_alone(path), _quick_to_switch(), stoppable()",
        new="_alone(path), stoppable()",
        tests=(f"{_IMPORT_COMMAND}::test_the_thread_that_checks_leaves_off_soon_during_an_import_alone",),
    ),
    Mutation(
        "An import starts no parallel workers",
        "registry/services/new_devices.py",
        old="set_config('max_parallel_workers_per_gather', '0', true), ",
        new="",
        tests=(f"{_IMPORT}::test_no_parallel_workers_are_started_for_some_rows",),
    ),
]

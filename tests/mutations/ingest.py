"""What phones post, at the same time and in any order."""

from tests.mutations.mutation import Mutation

_API = "tests/registry/test_devices_api.py"
_RACES = "tests/registry/test_races.py"
_SHARED = "tests/journeys/test_shared_installation.py"
_HYGIENE = "tests/journeys/test_hygiene.py"
_ERASURE = "tests/journeys/test_erasure.py"

TABLE = [
    Mutation(
        "Posts of one installation queue up",
        "registry/services/ingest.py",
        old='lock(f"installation:{app.pk}:{launch.installation_id}", f"token:',
        new='lock(f"token:',
        tests=(f"{_RACES}::test_of_two_first_launches_of_one_installation_the_later_token_stays",),
    ),
    Mutation(
        "Posts of one token queue up",
        "registry/services/ingest.py",
        old=', f"token:{app.pk}:{token_hash.hex()}")',
        new=")",
        tests=(f"{_RACES}::test_of_two_installations_that_post_one_token_the_later_has_it",),
    ),
    Mutation(
        "Of two installations with one token the later has it",
        "registry/services/ingest.py",
        old="    retire(Q(pk__in=[row.pk for row in rows if row is not device]), RetiredReason.TOKEN_MOVED)\n",
        new="",
        tests=(f"{_API}::test_the_later_of_two_installations_with_one_token_keeps_it",),
    ),
    Mutation(
        "The database itself lets no two living devices have one token",
        "registry/migrations/0001_initial.py",
        old="models.Q(('retired_at__isnull', True)), fields=('app', 'token_hash')",
        new="models.Q(('retired_at__isnull', True)), fields=('app', 'installation_id', 'token_hash')",
        tests=(f"{_RACES}::test_the_database_itself_refuses_two_living_devices_with_one_token",),
    ),
    Mutation(
        "After a restore the first launch of each phone is news",
        "registry/services/ingest.py",
        old='started_at__gte=OuterRef("last_seen")',
        new="started_at__isnull=True",
        tests=("tests/journeys/test_restore.py::test_what_is_held_as_before_is_proven_when_its_phone_launches",),
    ),
    Mutation(
        "A device that posts while it is retired lives",
        "registry/services/ingest.py",
        old="filter(pk=device.pk, revision=device.revision, retired_at__isnull=True).update(**written)",
        new="filter(pk=device.pk).update(**written)",
        tests=(f"{_HYGIENE}::test_a_device_that_posts_while_it_is_retired_lives",),
    ),
    Mutation(
        "Who takes an installation that a server made does not take its user",
        "registry/services/ingest.py",
        old="(vouched or device.token == launch.token)",
        new="True",
        tests=(
            "tests/registry/test_identity.py"
            "::test_whoever_takes_an_installation_that_a_server_made_does_not_take_its_user",
        ),
    ),
    Mutation(
        "What an erasure deletes is not counted as waiting",
        "registry/services/erasure.py",
        old="    event_counts.erased(events)\n",
        new="",
        tests=("tests/journeys/test_events.py::test_what_an_erasure_deletes_waits_no_more",),
    ),
    Mutation(
        "A user whom two phones name at once is made once",
        "registry/services/users.py",
        old="bulk_create([row], ignore_conflicts=True)",
        new="bulk_create([row])",
        tests=(f"{_RACES}::test_a_user_whom_two_phones_name_at_once_is_made_once",),
    ),
    Mutation(
        "An installation id that two phones share stays with the one that is there",
        "registry/services/shared.py",
        old="            raise SharedInstallation\n",
        new="            pass\n",
        tests=(f"{_SHARED}::test_the_phone_that_is_there_stays_and_the_other_is_told",),
    ),
    Mutation(
        "A token that comes back once is nothing unusual",
        "registry/services/shared.py",
        old="if device.token_returns >= settings.TOKENHUB_SHARED_RETURNS:",
        new="if True:",
        tests=(f"{_SHARED}::test_a_token_that_comes_back_once_is_nothing_unusual",),
    ),
    Mutation(
        "A revision grows when CI-J has to learn of a change",
        "registry/services/ingest.py",
        old="    device.revision += 1\n",
        new="",
        tests=("tests/journeys/test_registration.py::test_a_changed_token_replaces_the_old_one",),
    ),
    Mutation(
        "An opt-out reaches every device of its user",
        "registry/services/users.py",
        old="        mark_devices([user.pk])\n        steps.add",
        new="        steps.add",
        tests=("tests/journeys/test_registration.py::test_what_is_no_longer_desired_is_cleaned_up",),
    ),
    Mutation(
        "An old registration is sent again when its phone launches",
        "registry/services/ingest.py",
        old="    if unseen:\n        _confirm_again(device)\n",
        new="",
        tests=("tests/journeys/test_waves.py::test_an_old_registration_is_confirmed_again_when_its_phone_launches",),
    ),
    Mutation(
        "So it is when the launch tells of something else that is new",
        "registry/services/ingest.py",
        old="    else:\n        _confirm_again(device)\n",
        new="",
        tests=("tests/journeys/test_waves.py::test_so_it_is_when_the_launch_tells_of_a_new_version_of_the_app",),
    ),
    Mutation(
        "Only Android devices go stale",
        "registry/services/hygiene.py",
        old="platform=Platform.ANDROID, ",
        new="",
        tests=(f"{_HYGIENE}::test_each_app_says_how_long_and_0_is_never_and_ios_is_not_meant",),
    ),
    Mutation(
        "A device has as much longer as last-seen is written late",
        "registry/services/hygiene.py",
        old=" - settings.TOKENHUB_LAST_SEEN_INTERVAL",
        new="",
        tests=(f"{_HYGIENE}::test_as_last_seen_is_written_late_the_device_has_that_much_longer",),
    ),
    Mutation(
        "Of too many devices of a user some go",
        "registry/services/hygiene.py",
        old="    if surplus:\n",
        new="    if False:\n",
        tests=(f"{_HYGIENE}::test_of_more_devices_than_a_user_may_have_the_longest_unseen_goes_and_is_cleaned_up",),
    ),
    Mutation(
        "And never the one that posts",
        "registry/services/hygiene.py",
        old=".exclude(pk=device.pk)",
        new="",
        tests=(f"{_HYGIENE}::test_the_device_that_posts_always_stays",),
    ),
    Mutation(
        "A post that finds its device retired meanwhile has it live",
        "registry/services/ingest.py",
        old="pk=device.pk, revision=device.revision, retired_at__isnull=True",
        new="pk=device.pk",
        tests=(f"{_HYGIENE}::test_a_post_and_the_hygiene_at_the_same_time_leave_the_device_living",),
    ),
]

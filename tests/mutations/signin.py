"""Signing in to the admin: who gets which role, for which apps."""

from tests.mutations.mutation import Mutation

_SIGN_IN = "tests/tokenhub/test_signin.py"

TABLE = [
    Mutation(
        "A role that a group gives for one app holds for no other",
        "tokenhub/signin/entra.py",
        old="apps = frozenset(grant.app for grant in given if grant.role == role)",
        new="apps = frozenset(grant.app for grant in given)",
        tests=(f"{_SIGN_IN}::test_no_mixture_of_groups_gives_more_than_each_of_them",),
    ),
    Mutation(
        "A grant that names no app is not one for every app",
        "tokenhub/signin/entra.py",
        old=" or (one and not app.strip())",
        new="",
        tests=(f"{_SIGN_IN}::test_a_grant_names_a_role_that_there_is",),
    ),
]

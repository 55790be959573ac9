"""The admin: who may see which apps, and do what there."""

from tests.mutations.mutation import Mutation

_SCOPE = "tests/tokenhub/test_scope.py"
_BULK = "tests/sync/test_bulk.py"
_TELLS_NOTHING = f"{_SCOPE}::test_no_address_of_the_admin_tells_of_an_app_that_one_does_not_see"

TABLE = [
    Mutation(
        "Lists and pages have the rows of the apps that one sees",
        "registry/admin/base.py",
        old="return scope.limit(rows, self.app_path)",
        new="return rows",
        tests=(_TELLS_NOTHING,),
    ),
    Mutation(
        "The overview tells what needs a person of the apps that one sees",
        "sync/dashboard.py",
        old='context["alerts"] = open_alerts(scope)',
        new='context["alerts"] = open_alerts()',
        tests=(_TELLS_NOTHING,),
    ),
    Mutation(
        "An app's own page is for those who see it",
        "sync/pages/app.py",
        old='scope_of(request.user).limit(MobileApp.objects.filter(replaced_by=None), "pk")',
        new="MobileApp.objects.filter(replaced_by=None)",
        tests=(f"{_SCOPE}::test_nothing_that_is_posted_changes_an_app_that_one_does_not_see",),
    ),
    Mutation(
        "Who only looks stops no bulk action",
        "registry/admin/bulk.py",
        old="if not may_stop:",
        new="if False:",
        tests=(f"{_BULK}::test_a_viewer_looks_at_an_action_and_does_not_stop_it",),
    ),
    Mutation(
        "What somebody asked for is not shown once they see its app no more",
        "registry/admin/bulk.py",
        old="return mine.filter(Q(app__in=scope.app_ids) | Q(app=None, apps__contained_by=sorted(scope.app_ids)))",
        new="return mine",
        tests=(f"{_BULK}::test_what_somebody_asked_for_in_an_app_that_they_see_no_more_is_not_shown",),
    ),
]

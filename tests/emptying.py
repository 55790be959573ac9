"""A pytest plugin: tables are emptied after a test by DELETE, in milliseconds; Django's TRUNCATE takes half a second.

Most tables hold a few rows, and TRUNCATE gives each of them new files. What `migrate` made stays where it is: content
types, permissions and the roles. After a test that changed those, or whose processes still write, Django does it.
"""

from typing import Any

from django.db import DatabaseError, connection, transaction
from django.test import TransactionTestCase

_KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
_ROLES = """
SELECT md5(string_agg(name || ':' || coalesce(permission_id::text, ''), ',' ORDER BY name, permission_id))
FROM auth_group LEFT JOIN auth_group_permissions ON group_id = auth_group.id
"""


# Both are Django's own, and have no types.
_PLACE: Any = TransactionTestCase
_setup, _flush = _PLACE._fixture_setup.__func__, _PLACE._fixture_teardown


def pytest_configure() -> None:
    roles: list[str] = []  # as they are in a new database

    def remember(case: type[TransactionTestCase]) -> None:
        _setup(case)
        if not roles:
            roles.append(_roles())

    def empty(case: TransactionTestCase) -> None:
        if roles != [_roles()] or not _emptied():
            _flush(case)

    _PLACE._fixture_setup, _PLACE._fixture_teardown = classmethod(remember), empty


def _roles() -> str:
    with connection.cursor() as cursor:
        cursor.execute(_ROLES)
        return str(cursor.fetchone()[0])


def _emptied() -> bool:
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - _KEPT
    deletes = ";".join(f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(tables))  # noqa: S608
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(deletes)
    except DatabaseError:
        return False  # somebody still writes rows that point to those that are gone
    return True

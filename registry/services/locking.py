"""Transactions that wait in order, and come again where PostgreSQL broke a deadlock at their cost."""

import itertools
from collections.abc import Callable

from django.db import OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected

from registry.crypto import sha256
from registry.services.bulk import array

MAX_ATTEMPTS = 5


def in_transaction[T](change: Callable[[], T]) -> T:
    """Run `change`, pure database work, in a transaction of its own, and again where a deadlock ended it.

    Rows are locked in one order wherever the order is ours to choose; bulk statements choose theirs. Inside a
    transaction it runs once: only the outermost can begin anew.
    """
    for attempt in itertools.count(1):
        try:
            with transaction.atomic():
                return change()
        except OperationalError as error:
            nested = connection.in_atomic_block
            if nested or attempt == MAX_ATTEMPTS or not isinstance(error.__cause__, DeadlockDetected):
                raise
    raise AssertionError("unreachable")


def lock(*names: str) -> None:
    """Hold advisory locks until the transaction ends, taken in one order so that no two wait for each other."""
    keys = array(lock_keys(*names))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", [keys])


def lock_keys(*names: str) -> list[int]:
    """The keys of those locks, in the order in which they are taken."""
    return sorted({int.from_bytes(sha256(name)[:8], signed=True) for name in names})

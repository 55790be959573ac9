"""One clock for everything that is claimed or rests: the database's.

Workers run on many hosts whose clocks differ. A delay that one of them computes by its own clock, and another
compares with the database's, is longer or shorter than it says: settling times and pauses would not hold.
"""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The database's time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM has one row
    found: datetime = row[0]
    return found

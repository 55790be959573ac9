"""How often whole tables are counted: rarely where that takes seconds, at once where it costs nothing."""

from datetime import timedelta

from django.db import connection

from registry.models import Device

FEW = 50_000  # devices, all of which are counted within some hundredths of a second
SOON = timedelta(seconds=30)


def recount_after(period: timedelta) -> timedelta:
    """How old a count may get: `period`, or half a minute while there are few devices.

    By PostgreSQL's estimate, which is none before the table was first analysed: few then.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [Device._meta.db_table])  # noqa: SLF001
        (devices,) = cursor.fetchone()
    return min(period, SOON) if devices < FEW else period

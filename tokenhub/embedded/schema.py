"""Whether the database has every migration: asked at each start, which is quicker than to run `migrate` in vain."""

import psycopg
from django.db.migrations.loader import MigrationLoader


def is_current(database_url: str) -> bool:
    """True if every migration there is has been applied; False if not, or if that cannot be told.

    Needs Django's list of apps, but none of its connections: the settings of this process name no database yet.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            # Asked first: a new database would log an error, and somebody would wonder what went wrong.
            there = connection.execute("SELECT to_regclass('django_migrations') IS NOT NULL").fetchone()
            if there != (True,):
                return False
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    except psycopg.Error:
        return False
    loader = MigrationLoader(None)
    return all(key in applied for key in loader.disk_migrations)

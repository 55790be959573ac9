"""The embedded stack: `manage.py up` and the real PostgreSQL and Valkey that it runs from wheels."""

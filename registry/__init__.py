"""What we know: every table, the states, the services that change them, the ingest API, the admin."""

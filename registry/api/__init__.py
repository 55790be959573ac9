"""The ingest API."""

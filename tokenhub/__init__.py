"""Composition: settings, URLs, the Celery app, boot checks, the embedded stack."""

__version__ = "0.1.0"

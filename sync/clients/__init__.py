"""Clients of Microsoft's APIs. They know neither Django nor Celery; every answer is hostile until parsed."""

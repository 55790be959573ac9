from django.apps import AppConfig


class TokenhubConfig(AppConfig):
    name = "tokenhub"

    def ready(self) -> None:
        from tokenhub import celery, checks  # noqa: F401  the Celery app becomes current; the checks register themselves
        from tokenhub.signin import records  # noqa: F401  receivers register themselves

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RegistryConfig(AppConfig):
    name = "registry"
    verbose_name = "Tables"  # as the path above each page of the admin calls them

    def ready(self) -> None:
        from registry.services import audit, roles

        audit.watch()
        post_migrate.connect(roles.make_roles, sender=self)
        post_migrate.connect(_make_partitions, sender=self)


def _make_partitions(plan: Any = None, **kwargs: Any) -> None:
    """A new table has its partitions from the start. `plan` is what was migrated, None where tests flush."""
    if plan is not None:
        from registry.services.partitions import maintain_all

        maintain_all()

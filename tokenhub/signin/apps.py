"""django-allauth where no page of its is served."""

from allauth.account.apps import AccountConfig


class AccountTables(AccountConfig):
    """Its tables alone, for TOKENHUB_ROLE=api: allauth's own configuration will not start without its middleware."""

    def ready(self) -> None:
        from allauth.account import checks  # noqa: F401  they register themselves

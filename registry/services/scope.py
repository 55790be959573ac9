"""Which apps a person may see: the one place that pages ask."""

from collections.abc import Sequence
from typing import Any

from registry.models import MobileApp


def visible_apps(user: Any) -> Sequence[MobileApp]:
    """The apps that the signed-in person may see, without their secrets; not the rows of replaced connections."""
    return list(
        MobileApp.objects.defer("api_token").select_related("dataverse").filter(replaced_by=None).order_by("slug")
    )

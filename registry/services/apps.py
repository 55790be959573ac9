"""Making apps and Dataverse environments, with every value checked first."""

import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import phonenumbers
from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models import DataverseEnvironment, MobileApp, secret_columns
from registry.services.errors import InvalidInput
from registry.services.normalise import https_origin
from registry.states import DataverseTable, Identity, MatchKey

PUBLIC_CLOUD = "https://login.microsoftonline.com"


def create_dataverse(**fields: Any) -> DataverseEnvironment:
    """Store a Dataverse environment of what `checked_dataverse` takes. Raises InvalidInput."""
    environment = checked_dataverse(**fields)
    environment.save(force_insert=True)
    return environment


def checked_dataverse(
    *, name: str, url: str, tenant: str, client_id: str, client_secret: str, authority: str = PUBLIC_CLOUD, **more: Any
) -> DataverseEnvironment:
    """An environment with `more` of its fields, not stored yet. Raises InvalidInput, also when the name is taken.

    `authority` is Entra's address, with or without the tenant as its path.
    """
    spelled = authority.strip().rstrip("/")
    if urlsplit(spelled).scheme != "https" or not urlsplit(spelled).hostname:
        raise InvalidInput("authority", "must be an https address, e.g. https://login.microsoftonline.com.")
    environment = DataverseEnvironment(
        name=name,
        url=https_origin("url", url, settings.TOKENHUB_DATAVERSE_HOST_SUFFIXES),
        tenant=tenant,
        client_id=client_id,
        client_secret=client_secret,
        authority=spelled.removesuffix(f"/{tenant}"),
        **more,
    )
    _check(environment)
    return environment


def create_app(**fields: Any) -> MobileApp:
    """Store a mobile app of what `checked_app` takes. Raises InvalidInput."""
    return store(checked_app(**fields))


def store(app: MobileApp) -> MobileApp:
    """Store an app that was checked."""
    app.save(force_insert=True)
    return app


def checked_app(
    *,
    slug: str,
    name: str,
    org_id: str | uuid.UUID,
    mobile_app_id: str | uuid.UUID,
    endpoint: str,
    api_token: str,
    dataverse: DataverseEnvironment,
    match: Sequence[str] | None = None,
    match_by: Sequence[str] | None = None,
    identity: str = Identity.JWT,
    **more: Any,
) -> MobileApp:
    """An app with `more` of its fields, not stored yet. Raises InvalidInput, also when slug or ids are taken."""
    org, mobile_app = guid("org_id", org_id), guid("mobile_app_id", mobile_app_id)
    refuse_taken(org, mobile_app)
    check_region(more.get("default_region", ""))
    app = MobileApp(
        slug=slug,
        name=name,
        org_id=org,
        mobile_app_id=mobile_app,
        endpoint=https_origin("endpoint", endpoint, settings.TOKENHUB_CIJ_HOST_SUFFIXES),
        api_token=api_token,
        dataverse=dataverse,
        match=_chosen("match", match, DataverseTable.values),
        match_by=_chosen("match_by", match_by, MatchKey.values),
        identity=identity,
        **more,
    )
    _check(app)
    return app


def check_region(region: str) -> None:
    """Raise InvalidInput where that is no country whose phone numbers are known; empty is none at all."""
    if region and region not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidInput("default_region", f"{region!r} is no country (ISO 3166, two capital letters, e.g. DE).")


def identity_warnings() -> dict[str, str]:
    """What an administrator should know of how apps' users are named: a sentence by the app's slug."""
    warnings = dict.fromkeys(
        MobileApp.objects.filter(identity=Identity.UNVERIFIED, replaced_by=None).values_list("slug", flat=True),
        "anybody with the mobile key, which lies in the app's binary, may name any user and get their messages. "
        "Identity policy 'unverified' is for trying out.",
    )
    unproven = MobileApp.objects.filter(identity=Identity.JWT, token_issuer=None, replaced_by=None)
    dropping_in = MobileApp.objects.filter(drop_in=True, replaced_by=None).values_list("slug", flat=True)
    for slug in dropping_in:
        more = (
            "the drop-in paths are on: whoever reads the ApiToken out of the app's binary can register a phone of "
            "theirs for any record, and gets its messages."
        )
        warnings[slug] = f"{warnings[slug]} And {more}" if slug in warnings else more
    return warnings | dict.fromkeys(
        unproven.values_list("slug", flat=True),
        "no phone can name a user: say who signs their tokens, on its page or with manage.py set_token_issuer.",
    )


def set_api_token(app: MobileApp, api_token: str) -> None:
    """Store another ApiToken of the app, encrypted, untried and instead of all that it had; workers read it with their
    next batch. Raises InvalidInput."""
    if not api_token.strip():
        raise InvalidInput("api_token", "is empty.")
    others = {"next_api_token": "", "former_api_token": ""}  # they may be unreadable
    MobileApp.objects.filter(pk=app.pk).update(api_token=api_token, api_token_changed_at=Now(), **others)


def set_client_secret(environment: DataverseEnvironment, client_secret: str) -> None:
    """Store another client secret of the environment, likewise. Raises InvalidInput."""
    if not client_secret.strip():
        raise InvalidInput("client_secret", "is empty.")
    DataverseEnvironment.objects.filter(pk=environment.pk).update(client_secret=client_secret)


def refuse_taken(org_id: uuid.UUID, mobile_app_id: uuid.UUID, but_for: MobileApp | None = None) -> None:
    """Raise InvalidInput where another app has these ids, or had them and is still retired there."""
    same = MobileApp.objects.defer(*secret_columns()).filter(org_id=org_id, mobile_app_id=mobile_app_id, over_at=None)
    taken = same.exclude(Q(pk=but_for.pk) | Q(replaced_by=but_for)).first() if but_for else same.first()
    if taken is not None:
        raise InvalidInput("mobile_app_id", f"These ids are those of {taken.slug} already.")


def guid(field: str, value: str | uuid.UUID) -> uuid.UUID:
    """The GUID that is spelled so. Raises InvalidInput."""
    try:
        return uuid.UUID(str(value).strip())
    except ValueError:
        raise InvalidInput(field, f"{value!r} is not a GUID.") from None


def _chosen(field: str, values: Sequence[str] | None, allowed: Sequence[str]) -> list[str]:
    chosen = list(allowed) if values is None else list(dict.fromkeys(values))
    wrong = [value for value in chosen if value not in allowed]
    if wrong or not chosen:
        raise InvalidInput(field, f"{', '.join(wrong) or 'nothing'!s} is not among: {', '.join(allowed)}.")
    return chosen


def _check(row: models.Model) -> None:
    """Validate with the model's own rules; the first error becomes an InvalidInput."""
    try:
        row.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidInput("drop_in" if field == NON_FIELD_ERRORS else field, messages[0]) from None

"""Clients made of rows and settings. One `Http` a process, made on first use and so after the fork."""

import uuid
from functools import cache

from django.conf import settings
from django.utils.crypto import salted_hmac

from registry.models import DataverseEnvironment, MobileApp
from registry.services.valkey import valkey
from registry.states import DataverseTable
from sync.bucket import Bucket
from sync.calls import note
from sync.clients.callbacks import Callback
from sync.clients.calls import Call
from sync.clients.cij import CijClient, Connection
from sync.clients.dataverse import DataverseClient, Table
from sync.clients.entra import Credentials
from sync.clients.http import Http


def deadline() -> float:
    """Seconds that one call may take."""
    seconds: float = settings.TOKENHUB_CALL_DEADLINE.total_seconds()
    return seconds


@cache
def http() -> Http:
    return Http(deadline(), observe=note)


def bucket(app: MobileApp) -> Bucket:
    return Bucket(valkey(), app.pk, app.requests_per_second, settings.TOKENHUB_BURST_SECONDS)


@cache
def credentials(
    authority: str, tenant: str, client_id: str, client_secret: str, resource: str, name: str
) -> Credentials:
    """Kept for the process, so that msal's token cache is; a changed secret makes new ones."""
    return Credentials(
        authority=authority,
        tenant=tenant,
        client_id=client_id,
        client_secret=client_secret,
        resource=resource,
        call=Call("sign_in", name),
        observe=note,
    )


def connection(app: MobileApp, token: str = "") -> Connection:
    """`token` is another ApiToken than the one in use."""
    return Connection(app.endpoint, app.org_id, app.mobile_app_id, token or app.api_token, app.slug)


def callback(batch_id: uuid.UUID) -> Callback | None:
    """Where CI-J shall say that a batch's outcomes are there; None where tokenhub has no public address."""
    if not settings.TOKENHUB_PUBLIC_URL:
        return None
    return Callback(
        f"{settings.TOKENHUB_PUBLIC_URL}/cij/callbacks/{batch_id}",
        # Derived, not stored: whoever knows the URL still does not know this.
        salted_hmac("tokenhub.cij.callback", str(batch_id), algorithm="sha256").hexdigest(),
        both_names=settings.TOKENHUB_CALLBACK_BOTH_HEADERS,
    )


def cij(app: MobileApp) -> CijClient:
    return CijClient(http(), connection(app), before_call=bucket(app).use)


def cij_with(app: MobileApp, token: str) -> CijClient:
    """For a call or two that try `token`; the app need not be stored."""
    return CijClient(http(), connection(app, token), before_call=lambda: None)


def entra(environment: DataverseEnvironment) -> Credentials:
    """Those that workers use."""
    return credentials(
        environment.authority,
        environment.tenant,
        environment.client_id,
        environment.client_secret,
        environment.url,
        environment.name,
    )


def dataverse(environment: DataverseEnvironment) -> DataverseClient:
    kept = entra(environment)
    return DataverseClient(http(), environment.url, token=kept.token, forget=kept.forget, name=environment.name)


def sign_in_anew(environment: DataverseEnvironment) -> Credentials:
    """Credentials that have no token yet: their first one proves the client secret."""
    return Credentials(
        authority=environment.authority,
        tenant=environment.tenant,
        client_id=environment.client_id,
        client_secret=environment.client_secret,
        resource=environment.url,
    )


def tables(environment: DataverseEnvironment) -> dict[str, Table]:
    """Where users are looked up. Columns: MicrosoftDocs, contact and lead table reference; a profile's depend on how
    the customer unified their data."""
    return {
        DataverseTable.CONTACT: Table("contacts", "contactid", "emailaddress1", "mobilephone"),
        DataverseTable.LEAD: Table("leads", "leadid", "emailaddress1", "mobilephone"),
        DataverseTable.PROFILE: Table(
            "msdynci_customerprofiles",
            "msdynci_customerprofileid",
            environment.profile_email_column,
            environment.profile_phone_column,
        ),
    }

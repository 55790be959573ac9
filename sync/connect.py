"""Clients made of rows and settings. One HTTP client a process, made on first use and so after the fork."""

from functools import cache

import httpx2
from django.conf import settings

from registry.models import DataverseEnvironment, MobileApp
from registry.states import DataverseTable
from sync.clients import http
from sync.clients.cij import CijClient, Connection
from sync.clients.dataverse import DataverseClient, Table
from sync.clients.entra import Credentials


def deadline() -> float:
    """Seconds that one call may take."""
    seconds: float = settings.TOKENHUB_CALL_DEADLINE.total_seconds()
    return seconds


@cache
def http_client() -> httpx2.Client:
    return http.new_client(deadline())


@cache
def credentials(authority: str, tenant: str, client_id: str, client_secret: str, resource: str) -> Credentials:
    """Kept for the process, so that msal's token cache is; a changed secret makes new ones."""
    return Credentials(
        authority=authority, tenant=tenant, client_id=client_id, client_secret=client_secret, resource=resource
    )


def connection(app: MobileApp) -> Connection:
    return Connection(app.endpoint, app.org_id, app.mobile_app_id, app.api_token)


def cij(app: MobileApp) -> CijClient:
    return CijClient(http_client(), connection(app), deadline=deadline())


def dataverse(environment: DataverseEnvironment) -> DataverseClient:
    entra = credentials(
        environment.authority,
        environment.tenant,
        environment.client_id,
        environment.client_secret,
        environment.url,
    )
    return DataverseClient(http_client(), environment.url, token=entra.token, forget=entra.forget, deadline=deadline())


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

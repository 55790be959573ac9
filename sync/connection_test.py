"""Trying an app's connection, step by step, and saying in words what is wrong. Stores nothing, sends nothing.

What errors say of a call (RemoteError) holds no secret, and neither do these sentences.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.models import MobileApp
from registry.states import MatchKey
from sync import connect
from sync.clients.errors import Denied, Refused, RemoteError, Throttled, Unavailable

# No user has it: a look-up for it reads, and finds nobody.
NOBODY = "tokenhub-connection-test@example.invalid"


@dataclass(frozen=True)
class Finding:
    """What one step came to. `to_do` says what to mend; empty where it went well."""

    step: str
    ok: bool
    what: str
    to_do: str = ""


def try_all(app: MobileApp) -> list[Finding]:
    """Entra sign-in, a read of every table and column that users are looked up in, a status call to CI-J.

    The app need not be stored. Takes some seconds at most for each call that does not answer.
    """
    return [*_dataverse(app), try_cij(app)]


def try_cij(app: MobileApp) -> Finding:
    """A status call: the one that tells a wrong ApiToken, and changes nothing."""
    return of_cij(app, _attempt(lambda: connect.cij_with(app, app.api_token).check()))


def of_cij(app: MobileApp, error: RemoteError | None) -> Finding:
    """What that call came to, in words."""
    step = "Customer Insights - Journeys"
    host = urlsplit(app.endpoint).netloc
    if error is None:
        return Finding(step, ok=True, what=f"{host} knows the app and takes its ApiToken.")
    if isinstance(error, Refused | Denied):
        return Finding(
            step,
            ok=False,
            what=f"{host} refuses the app ({error}): the ApiToken, the mobile app id or the organisation id is wrong.",
            to_do="It does not say which. Compare all three with the app's Developer information tab; where the token "
            "was made anew there, the one from before is not good any more.",
        )
    return _silent(step, host, error, "See whether the endpoint is that of the Developer information tab.")


def _dataverse(app: MobileApp) -> Iterator[Finding]:
    environment = app.dataverse
    signed_in = _attempt(connect.sign_in_anew(environment).token)
    if signed_in is not None:
        yield _sign_in(signed_in, environment.tenant, urlsplit(environment.authority).netloc)
        return
    yield Finding("Entra sign-in", ok=True, what=f"Signed in to {environment.tenant} as the application.")
    client, tables = connect.dataverse(environment), connect.tables(environment)
    host = urlsplit(environment.url).netloc
    read = []
    for name, key in itertools.product(app.match, app.match_by):
        table = tables[name]
        column = table.email_column if key == MatchKey.EMAIL else table.phone_column
        error = _attempt(lambda table=table, column=column: client.find(table, column, [NOBODY]))  # type: ignore[misc]
        if error is not None:
            yield _read_failed(error, host, table.entity_set, column)
            if not isinstance(error, Refused):
                return
        else:
            read.append(f"{table.entity_set}.{column}")
    if read:
        yield Finding("Dataverse", ok=True, what=f"{host} answers; users can be looked up by {', '.join(read)}.")


def _attempt(call: Callable[[], object]) -> RemoteError | None:
    try:
        call()
    except RemoteError as error:
        return error
    return None


_SIGN_IN = {
    "invalid_client": (
        "the client secret is wrong or has expired, or the client id is another application's.",
        "Make a new client secret in Entra ID (App registrations, Certificates & secrets) and store its value (not its "
        "id) on the environment's page, or with manage.py set_client_secret.",
    ),
    "unauthorized_client": (
        "it does not know the application in this tenant.",
        "Compare the client id and the tenant with the application's Overview page in Entra ID.",
    ),
    "invalid_scope": (
        "it does not know the Dataverse address as something to sign in to.",
        "Compare the environment's URL with the one in the Power Platform admin center.",
    ),
}


def _sign_in(error: RemoteError, tenant: str, host: str) -> Finding:
    step = "Entra sign-in"
    if isinstance(error, Denied):
        for code, (what, to_do) in _SIGN_IN.items():
            if code in str(error):
                return Finding(step, ok=False, what=f"Entra ID refuses: {what}", to_do=to_do)
        return Finding(
            step, ok=False, what=f"Entra ID refuses ({error}).", to_do="Compare tenant, client id and secret."
        )
    to_do = f"See whether the tenant {tenant} is spelled right, and whether this server reaches {host}."
    return Finding(step, ok=False, what=f"{host} does not answer as it should ({error}).", to_do=to_do)


def _read_failed(error: RemoteError, host: str, table: str, column: str) -> Finding:
    if isinstance(error, Denied):
        return Finding(
            "Dataverse",
            ok=False,
            what=f"{host} does not let the application read {table} ({error}).",
            to_do="In the Power Platform admin center make it an application user of this environment, with a security "
            f"role that may read {table} of the whole organisation.",
        )
    if isinstance(error, Refused):
        return Finding(
            "Dataverse",
            ok=False,
            what=f"{host} refuses to look for {column} in {table} ({error}): there is no such table or column.",
            to_do="Take the table off the app's list, or correct the column on the environment's page.",
        )
    return _silent("Dataverse", host, error, "See whether the environment's URL is right.")


def _silent(step: str, host: str, error: RemoteError, to_do: str) -> Finding:
    if isinstance(error, Throttled):
        what = f"{host} asks to wait for {error.retry_after:.0f} s: it is throttled, which says nothing of the set-up."
        return Finding(step, ok=False, what=what, to_do="Try again later.")
    assert isinstance(error, Unavailable)  # noqa: S101 the last kind there is
    return Finding(step, ok=False, what=f"{host} does not answer ({error}).", to_do=to_do)

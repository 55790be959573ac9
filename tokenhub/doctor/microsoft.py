"""Microsoft's side, as the workers meet it: the way there, the certificates, the sign-in, the ApiTokens."""

import socket
import ssl
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
from django.conf import settings

from registry.crypto import SecretUnreadable
from registry.models import DataverseEnvironment, MobileApp, TokenIssuer, secret_columns
from sync import connect
from sync.clients.entra import Credentials
from sync.clients.errors import Denied, Refused, RemoteError, Throttled
from sync.clients.http import obstacle, ssl_context
from tokenhub.doctor import Finding, Level
from tokenhub.doctor.stores import skew

TIMEOUT = 10.0  # seconds
NOBODY = "doctor@tokenhub.invalid"


def everything() -> Iterator[Finding]:
    """Each host, each environment and each app, and the administrators' sign-in."""
    if obstacle():
        return  # told of among the settings
    reached: set[str] = set()
    for origin, whose in _origins().items():
        finding, date = _reach(origin, whose)
        yield finding
        if finding.level is Level.OK:
            reached.add(origin)
        if date is not None:
            yield skew(f"that of {urlsplit(origin).netloc}", date, coarse=1.0)
    yield from _administrators()
    for environment in DataverseEnvironment.objects.defer("client_secret").order_by("name"):
        yield from _environment(environment.pk, environment.name)
    for app in MobileApp.objects.defer(*secret_columns()).order_by("slug"):
        if _origin(app.endpoint) in reached:
            yield _api_token(app.pk, app.slug)


def _origins() -> dict[str, str]:
    """Each host that is asked, and what names it: there a misspelt one is to be mended."""
    named = [
        *((url, f"app {slug}") for url, slug in MobileApp.objects.values_list("endpoint", "slug")),
        *((url, f"Dataverse {name}") for url, name in DataverseEnvironment.objects.values_list("url", "name")),
        *((url, f"Dataverse {name}") for url, name in DataverseEnvironment.objects.values_list("authority", "name")),
        *(
            (url, f"token issuer of {slug}")
            for url, slug in TokenIssuer.objects.exclude(jwks_url="").values_list("jwks_url", "app__slug")
        ),
    ]
    if settings.TOKENHUB_ENTRA_CLIENT_ID:
        named.append((settings.TOKENHUB_ENTRA_AUTHORITY, "the administrators' sign-in"))
    if settings.TOKENHUB_ALERT_WEBHOOK_URL:
        named.append((settings.TOKENHUB_ALERT_WEBHOOK_URL, "the alerts' webhook"))
    found: dict[str, list[str]] = {}
    for url, whose in sorted(named):
        found.setdefault(_origin(url), []).append(whose)
    return {origin: _some(dict.fromkeys(whose)) for origin, whose in sorted(found.items())}


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # a webhook's address may hold a password


def _reach(origin: str, whose: str) -> tuple[Finding, float | None]:
    """Whether the host answers over TLS that we trust (anything: a 404 will do), and the time that it says it is."""
    part = f"TLS {urlsplit(origin).netloc}"
    try:
        with httpx2.Client(verify=ssl_context(), timeout=TIMEOUT) as client:
            answer = client.get(origin)
    except httpx2.HTTPError as error:
        says, mend = _why(error)
        return Finding(part, Level.ERROR, f"of {whose}: {says}", mend), None
    try:
        date = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        date = None
    return Finding(part, Level.OK, "answers, and its certificate is trusted"), date


def _why(error: BaseException) -> tuple[str, str]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for found in causes:
        if isinstance(found, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: {found.verify_message}",
                "Does a proxy break TLS open? Put its CA into the bundle that SSL_CERT_FILE names.",
            )
        if isinstance(found, socket.gaierror):
            return "its name is not known", "Is it spelt right, and does this host's DNS work?"
        if isinstance(found, ConnectionRefusedError):
            return "refuses the connection", "Is the address right, and does a firewall let us out?"
    if isinstance(error, httpx2.TimeoutException):
        return f"does not answer within {TIMEOUT:.0f} s", "Does a firewall let us out to port 443?"
    return f"cannot be reached: {type(error).__name__}", "See the way there: DNS, firewall, proxy."


def _administrators() -> Iterator[Finding]:
    """Whether Entra ID knows the application that administrators sign in by, and its secret."""
    client_id = settings.TOKENHUB_ENTRA_CLIENT_ID
    if not client_id:
        return
    part = "administrators' sign-in"
    application = Credentials(
        authority=settings.TOKENHUB_ENTRA_AUTHORITY,
        tenant=settings.TOKENHUB_ENTRA_TENANT,
        client_id=client_id,
        client_secret=settings.TOKENHUB_ENTRA_CLIENT_SECRET,
        resource=client_id,  # a token for itself: no other permission is needed
    )
    try:
        application.token()
    except Denied as error:
        mend = "Compare TOKENHUB_ENTRA_CLIENT_ID with the app registration, and renew TOKENHUB_ENTRA_CLIENT_SECRET."
        # What else Entra may say of this question need not keep people from signing in.
        wrong = any(code in str(error) for code in ("invalid_client", "unauthorized_client"))
        yield Finding(part, Level.ERROR if wrong else Level.WARNING, f"the application is refused: {error}", mend)
    except RemoteError as error:
        mend = "Does the authority answer (see TLS), is TOKENHUB_ENTRA_TENANT right?"
        yield Finding(part, Level.ERROR, str(error), mend)
    else:
        yield Finding(part, Level.OK, "Entra ID takes the application's secret")


def _environment(pk: int, name: str) -> Iterator[Finding]:
    part = f"Dataverse {name}"
    try:
        environment = DataverseEnvironment.objects.get(pk=pk)
    except SecretUnreadable:
        return  # told of by `keys`
    try:
        connect.entra(environment).token()
    except Denied as error:
        yield Finding(
            part,
            Level.ERROR,
            f"the sign-in is refused: {error}",
            f"Renew the client secret in Entra ID, and store it: manage.py set_client_secret --dataverse {name} …",
        )
        return
    except RemoteError as error:
        yield Finding(part, Level.ERROR, str(error), "Does the authority answer (see TLS), is the tenant right?")
        return
    yield from _tables(part, environment)


def _tables(part: str, environment: DataverseEnvironment) -> Iterator[Finding]:
    """Whether the application user may read what users are looked up in."""
    client, tables = connect.dataverse(environment), connect.tables(environment)
    apps = MobileApp.objects.defer(*secret_columns()).filter(dataverse=environment)
    for name in sorted({name for app in apps for name in app.match}):
        table = tables[name]
        try:
            client.find(table, table.email_column, [NOBODY])
        except RemoteError as error:
            yield Finding(
                part,
                Level.WARNING if isinstance(error, Throttled) else Level.ERROR,
                f"table {table.entity_set} cannot be read: {error}",
                "Give tokenhub's application user the privilege to read it, of the whole organisation.",
            )
        else:
            yield Finding(part, Level.OK, f"signed in, and {table.entity_set} can be read")


def _api_token(pk: int, slug: str) -> Finding:
    part = f"app {slug}"
    try:
        app = MobileApp.objects.get(pk=pk)
        connect.cij(app).check()
    except SecretUnreadable:
        return Finding(part, Level.ERROR, "its ApiToken cannot be read", "See keys.")
    except (Refused, Denied) as error:
        return Finding(
            part,
            Level.ERROR,
            f"CI-J refuses a status call: {error}",
            "Compare org, mobile app id and ApiToken with the app's Developer information tab; "
            f"manage.py set_api_token --app {slug} stores a new ApiToken.",
        )
    except Throttled as error:
        return Finding(part, Level.WARNING, f"CI-J asks us to wait: {error}", "Lower its requests_per_second.")
    except RemoteError as error:
        return Finding(part, Level.ERROR, f"CI-J does not answer: {error}", "Is Microsoft's service up?")
    return Finding(part, Level.OK, "CI-J takes its ApiToken")

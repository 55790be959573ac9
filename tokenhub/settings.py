"""All settings, read from the environment. docs/settings.md describes each.

Fails closed: outside the embedded stack there is no default for a secret, and DEBUG is off unless asked for.
"""

import ipaddress
import os
import secrets as random_secrets
from datetime import timedelta
from logging import getLevelNamesMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from kombu import Queue

from tokenhub import console
from tokenhub.email_url import mailer
from tokenhub.embedded import state
from tokenhub.environment import Env
from tokenhub.logs import for_machines
from tokenhub.secret_files import read_secret_files
from tokenhub.signin import settings as signin
from tokenhub.version import VERSION

# Lets Django's own generic classes be written with their types, e.g. ModelAdmin[Device].
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
read_secret_files()
env = Env()

# --- stores: external ones, or the embedded stack's -------------------------------------------------------------------
EMBEDDED = "DATABASE_URL" not in os.environ
_stack = state.running(state.data_dir()) if EMBEDDED or "REDIS_URL" not in os.environ else None
if _stack:
    # What `up` gave its own children (the sandbox's CA and hosts, say) holds for every other command too. What is ours
    # may be set otherwise on purpose; many shells have an SSL_CERT_FILE, though, and none knows the sandbox's CA.
    for _name, _value in _stack.environment.items():
        if _name not in os.environ or not _name.startswith("TOKENHUB_"):
            os.environ[_name] = _value

# Port 1 answers nobody: a command that needs the stack fails at once, and manage.py says what to do.
_NOWHERE = "127.0.0.1:1"
_database_url: str = env.str("DATABASE_URL", _stack.database_url if _stack else f"postgresql://nobody@{_NOWHERE}/none")
REDIS_URL: str = env.str("REDIS_URL", _stack.redis_url if _stack else f"redis://{_NOWHERE}/0")

if not REDIS_URL.startswith(("redis://", "rediss://")):
    raise ImproperlyConfigured(
        "REDIS_URL must look like redis://:password@host:6379/0, for Valkey too (or rediss://: TLS)"
    )

# In transaction mode the next statement may meet another server connection: no cursor and no prepared statement may
# outlive its transaction.
TOKENHUB_PGBOUNCER = env.bool("TOKENHUB_PGBOUNCER", False)
_pool_max = env.more_than_0("TOKENHUB_DB_POOL_MAX", 10)


def _database() -> dict[str, Any]:
    database: dict[str, Any] = environ.Env.db_url_config(_database_url)
    named = database.get("NAME") or "service" in database.get("OPTIONS", {})
    if not named or urlsplit(_database_url).scheme not in ("postgresql", "postgres", "psql", "pgsql"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:5432/name")
    database["ENGINE"] = "django.db.backends.postgresql"
    # Values travel beside the statements, so that PostgreSQL's log of a failed statement quotes none of them.
    database["OPTIONS"] = {**database.get("OPTIONS", {}), "connect_timeout": 5, "server_side_binding": True}
    if TOKENHUB_PGBOUNCER:
        # Django has no prepared statements unless asked.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
        database["OPTIONS"]["prepare_threshold"] = None
    if _stack or not EMBEDDED:  # a pool would try again for a while where nobody listens
        database["OPTIONS"]["pool"] = {"min_size": 0, "max_size": _pool_max, "timeout": 10}
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- secrets ----------------------------------------------------------------------------------------------------------
_secrets = state.load_secrets(state.data_dir()) if EMBEDDED else None


def _secret(name: str, embedded: str | None, example: str) -> str:
    value: str = env.str(name, "")
    if value:
        return value
    if not EMBEDDED:
        raise ImproperlyConfigured(f"{name} must be set when DATABASE_URL is. Make one with: {example}")
    # Without a stack there is nothing to protect yet: a key for the life of this process will do.
    return embedded or ""


SECRET_KEY = _secret(
    "TOKENHUB_SECRET_KEY",
    _secrets.secret_key if _secrets else None,
    "python -c 'import secrets; print(secrets.token_urlsafe(50))'",
) or random_secrets.token_urlsafe(50)
# What signs no more, and is still believed: sessions outlive a new key.
SECRET_KEY_FALLBACKS: list[str] = env.list("TOKENHUB_SECRET_KEY_FALLBACKS", default=[])
# The first key encrypts, every key decrypts. `manage.py rotate_encryption_key` tells how a new one comes in.
TOKENHUB_ENCRYPTION_KEYS = (
    _secret(
        "TOKENHUB_ENCRYPTION_KEYS",
        _secrets.encryption_key if _secrets else None,
        "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'",
    )
    or Fernet.generate_key().decode()
).split(",")

# --- Django -----------------------------------------------------------------------------------------------------------
DEBUG = env.bool("TOKENHUB_DEBUG", False)
ALLOWED_HOSTS: list[str] = env.list(
    "TOKENHUB_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if EMBEDDED else []
)
# The embedded stack speaks plain HTTP on loopback; everything else stands behind TLS.
HTTPS = env.bool("TOKENHUB_HTTPS", not EMBEDDED)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if HTTPS else 0
SECURE_SSL_REDIRECT = False  # the proxy in front redirects; behind it, probes speak plain HTTP
if env.bool("TOKENHUB_TRUST_FORWARDED_PROTO", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_FAILURE_VIEW = "tokenhub.errors.csrf_failure"
CSRF_TRUSTED_ORIGINS: list[str] = env.list("TOKENHUB_CSRF_TRUSTED_ORIGINS", default=[])
# Everything that a page loads is our own; Swagger UI and the admin draw some of their icons from data: URLs.
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
# Unfold's pages (below /admin/ alone) are driven by Alpine.js, which makes functions of the expressions in attributes
# and sets style attributes by them. Script or style elements in the page stay forbidden.
ADMIN_CSP = {
    **SECURE_CSP,
    "script-src": [CSP.SELF, CSP.UNSAFE_EVAL],
    "style-src-attr": [CSP.UNSAFE_INLINE],
    "font-src": [CSP.SELF],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# What this process serves: the public API, the administrators' pages, or both.
TOKENHUB_ROLE = env.one_of("TOKENHUB_ROLE", "all", ("api", "admin", "all"))
SERVES_API, SERVES_ADMIN = TOKENHUB_ROLE != "admin", TOKENHUB_ROLE != "api"
INSTALLED_APPS = [
    "tokenhub",
    "sync",
    "registry",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "auditlog",
    "allauth",
    "allauth.account" if SERVES_ADMIN else "tokenhub.signin.apps.AccountTables",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "axes",
]
# Sessions, forms and static files are the pages' alone: no phone's post goes through what it does not need.
_FOR_PAGES = {
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "tokenhub.csp.AdminPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tokenhub.audit.AuditTrail",
    "tokenhub.signin.middleware.SignedIn",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
}
_MIDDLEWARE = [
    "tokenhub.observe.Observe",
    "tokenhub.inside.Inside",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "tokenhub.csp.AdminPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tokenhub.audit.AuditTrail",
    "tokenhub.signin.middleware.SignedIn",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "registry.api.limits.RateLimitHeaders",
]
MIDDLEWARE = [name for name in _MIDDLEWARE if SERVES_ADMIN or name not in _FOR_PAGES]
# Django's admin is installed all the same, for its tables, and would miss them; so would the API's description.
SILENCED_SYSTEM_CHECKS = [
    *([] if SERVES_ADMIN else ["admin.E408", "admin.E409", "admin.E410"]),
    *([] if SERVES_API else ["drf_spectacular.E001"]),
    *([] if SERVES_ADMIN else ["axes.W002"]),
    # Whether other hosts of the domain have TLS, and whether browsers list it, is not ours to say; nor is the redirect.
    "security.W005",
    "security.W021",
    "security.W008",
    "mail.W001",  # without TOKENHUB_EMAIL_URL nothing is mailed; tokenhub.E030 tells of a mailer that is missed
]
ROOT_URLCONF = "tokenhub.urls"
WSGI_APPLICATION = "tokenhub.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tokenhub.signin.views.console",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "tokenhub.formats"
USE_TZ = True
STATIC_URL = "static/"
# The admin's files are served straight from the packages: there is nothing to collect first.
WHITENOISE_USE_FINDERS = True

UNFOLD = console.UNFOLD

# --- signing in: tokenhub/signin/settings.py --------------------------------------------------------------------------
_signin = signin.read(env, https=HTTPS, embedded=EMBEDDED)
globals().update(_signin)
TOKENHUB_SECOND_FACTOR: bool = _signin["TOKENHUB_SECOND_FACTOR"]
TOKENHUB_ENTRA_CLIENT_ID: str = _signin["TOKENHUB_ENTRA_CLIENT_ID"]
TOKENHUB_ENTRA_CLIENT_SECRET: str = _signin["TOKENHUB_ENTRA_CLIENT_SECRET"]
TOKENHUB_ENTRA_TENANT: str = _signin["TOKENHUB_ENTRA_TENANT"]
TOKENHUB_ENTRA_AUTHORITY: str = _signin["TOKENHUB_ENTRA_AUTHORITY"]
TOKENHUB_ENTRA_ROLES: list[Any] = _signin["TOKENHUB_ENTRA_ROLES"]
ADMIN_CSP["form-action"] = [CSP.SELF, *signin.form_targets(_signin)]
# Codes that were used and attempts that are counted, seen by every process.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "tokenhub",
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["registry.api.authentication.BearerKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["registry.api.throttling.CallerThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["registry.api.parsers.BoundedJSONParser"],
    "EXCEPTION_HANDLER": "registry.api.problems.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "registry.api.openapi.Schema",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is an unknown parameter, as any other
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.1",
    "TITLE": "tokenhub ingest API",
    "DESCRIPTION": "Posts of mobile apps and of the servers behind them. The prose is in docs/api.md.",
    "VERSION": "1",
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "SCHEMA_PATH_PREFIX": "/api/v[0-9.]+",
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["registry.api.openapi.finish"],
}

# --- logs: never a token, a key, an e-mail address or a phone number --------------------------------------------------
env.one_of("TOKENHUB_LOG_FORMAT", "json" if for_machines() else "console", ("json", "console"))  # read in logs.py
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "tokenhub.logs.formatter"}},
    "filters": {"without_path": {"()": "tokenhub.logs.WithoutPath"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.one_of("TOKENHUB_LOG_LEVEL", "INFO", getLevelNamesMapping())},
    "loggers": {
        # Django's own handlers would print once more, and in their way.
        "django": {"handlers": [], "propagate": True},
        # tokenhub.observe tells of every request; of these only what broke, and where, is news.
        "django.request": {"level": "ERROR", "filters": ["without_path"]},
        # They log statements with their values, whole URLs (Dataverse filters carry e-mail addresses), and tokens.
        **{name: {"level": "WARNING"} for name in ("django.db", "httpx2", "httpcore2", "msal", "urllib3", "asyncio")},
        # Two lines for every nudge would bury what the steps say they did.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        **{name: {"level": "INFO"} for name in ("celery.utils.functional", "celery.pool", "kombu", "redis")},
    },
}

# --- Celery: carries nudges, nothing else -----------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "tokenhub"
# A worker that is not told which (`-Q`) takes from all of them.
CELERY_TASK_QUEUES = [Queue("tokenhub"), Queue("tokenhub.urgent"), Queue("tokenhub.events")]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker would end after an hour, by a hundred tries
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_TASK_TIME_LIMIT = 300
TOKENHUB_SWEEP = timedelta(seconds=env.more_than_0("TOKENHUB_SWEEP_SECONDS", 10))
CELERY_BEAT_SCHEDULER = "tokenhub.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "sync.tasks.sweep", "schedule": TOKENHUB_SWEEP},
    "tidy": {"task": "sync.tasks.tidy", "schedule": timedelta(minutes=env.more_than_0("TOKENHUB_HYGIENE_MINUTES", 60))},
}
CELERY_TIMEZONE = TIME_ZONE


def _networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text.strip()) for text in env.list(name, default=[])]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Give networks, e.g. 10.0.0.0/8,fd00::/8") from None


# --- tokenhub ---------------------------------------------------------------------------------------------------------
TOKENHUB_VERSION = VERSION
# Hosts that secrets may be sent to; a leading dot means any host below it.
TOKENHUB_CIJ_HOST_SUFFIXES: list[str] = env.list("TOKENHUB_CIJ_HOST_SUFFIXES", default=[".mkt.dynamics.com"])
TOKENHUB_DATAVERSE_HOST_SUFFIXES: list[str] = env.list(
    "TOKENHUB_DATAVERSE_HOST_SUFFIXES",
    default=[".dynamics.com", ".crm.dynamics.cn", ".microsoftdynamics.us", ".appsplatform.us"],
)
TOKENHUB_LAST_SEEN_INTERVAL = timedelta(hours=env.int("TOKENHUB_LAST_SEEN_HOURS", 6))
# A claim is ours for this long; a call's deadline stays well below it.
TOKENHUB_LEASE = timedelta(seconds=env.more_than_0("TOKENHUB_LEASE_SECONDS", 60))
TOKENHUB_CALL_DEADLINE = timedelta(seconds=env.more_than_0("TOKENHUB_CALL_DEADLINE_SECONDS", 30))
# CI-J works a cleanup off after its 202; only then is it safe to register the next owner.
TOKENHUB_CLEANUP_SETTLING = timedelta(seconds=env.float("TOKENHUB_CLEANUP_SETTLING_SECONDS", 5.0))
TOKENHUB_CLEANUP_ECHO = timedelta(seconds=env.float("TOKENHUB_CLEANUP_ECHO_SECONDS", 60.0))
TOKENHUB_HANDOVER_PATIENCE = timedelta(seconds=env.float("TOKENHUB_HANDOVER_PATIENCE_SECONDS", 30.0))
TOKENHUB_FIRST_POLL = timedelta(seconds=env.float("TOKENHUB_FIRST_POLL_SECONDS", 1.0))
TOKENHUB_SLOWEST_POLL = timedelta(minutes=env.float("TOKENHUB_SLOWEST_POLL_MINUTES", 15.0))
TOKENHUB_PENDING_LIMIT = timedelta(hours=env.float("TOKENHUB_PENDING_LIMIT_HOURS", 24.0))
TOKENHUB_PENDING_ROUNDS = env.int("TOKENHUB_PENDING_ROUNDS", 3)
TOKENHUB_LONE_REFUSALS = env.int("TOKENHUB_LONE_REFUSALS", 6)
TOKENHUB_RETRY = timedelta(seconds=env.more_than_0("TOKENHUB_RETRY_SECONDS", 1.0))
TOKENHUB_SLOWEST_RETRY = timedelta(seconds=env.float("TOKENHUB_SLOWEST_RETRY_SECONDS", 30.0))
TOKENHUB_RETRY_SLOW_AFTER = timedelta(minutes=env.float("TOKENHUB_RETRY_SLOW_AFTER_MINUTES", 10.0))
TOKENHUB_RETRY_SLOW = timedelta(minutes=env.float("TOKENHUB_RETRY_SLOW_MINUTES", 15.0))
TOKENHUB_CIRCUIT_FAILURES = env.more_than_0("TOKENHUB_CIRCUIT_FAILURES", 10)
TOKENHUB_PROBE = timedelta(seconds=env.more_than_0("TOKENHUB_PROBE_SECONDS", 15.0))
TOKENHUB_SLOWEST_PROBE = timedelta(minutes=env.float("TOKENHUB_SLOWEST_PROBE_MINUTES", 15.0))
# As long as a sweep may be away.
TOKENHUB_BURST_SECONDS = env.float("TOKENHUB_BURST_SECONDS", 10.0)
TOKENHUB_DRY_RUN_WAVE = env.more_than_0("TOKENHUB_DRY_RUN_WAVE", 20)
TOKENHUB_RECONFIRM_AFTER = timedelta(days=env.float("TOKENHUB_RECONFIRM_DAYS", 30.0))
TOKENHUB_SHARED_RETURNS = env.int("TOKENHUB_SHARED_RETURNS", 3)
TOKENHUB_SHARED_WINDOW = timedelta(days=env.float("TOKENHUB_SHARED_WINDOW_DAYS", 7.0))
TOKENHUB_SHARED_HOLD = timedelta(hours=env.float("TOKENHUB_SHARED_HOLD_HOURS", 24.0))
TOKENHUB_ROLLING_CHECK = timedelta(hours=env.float("TOKENHUB_ROLLING_CHECK_HOURS", 24.0))
# Between the look-ups of a user who is not found; the last one is repeated.
TOKENHUB_LOOK_AGAIN = [
    timedelta(seconds=seconds)
    for seconds in env.list("TOKENHUB_LOOK_AGAIN_SECONDS", cast=float, default=[30, 120, 600, 3600, 21600, 86400])
]
TOKENHUB_MAPPING_RECHECK = timedelta(hours=env.float("TOKENHUB_MAPPING_RECHECK_HOURS", 24.0))
TOKENHUB_CHANGES_PERIOD = timedelta(minutes=env.more_than_0("TOKENHUB_CHANGES_MINUTES", 10.0))
# A re-check that would lose so many mappings at once changes nothing and pauses the environment.
TOKENHUB_MAPPING_LOSS_MIN = env.int("TOKENHUB_MAPPING_LOSS_MIN", 10)
TOKENHUB_MAPPING_LOSS_RATIO = env.float("TOKENHUB_MAPPING_LOSS_RATIO", 0.5)
if TOKENHUB_MAPPING_LOSS_RATIO > 1:
    raise ImproperlyConfigured("TOKENHUB_MAPPING_LOSS_RATIO is a share, from 0 to 1.")
# Where Microsoft reaches us, e.g. https://push.example.com: CI-J is asked to call back. Unset: polling alone.
TOKENHUB_PUBLIC_URL = env.address("TOKENHUB_PUBLIC_URL")
TOKENHUB_CALLBACK_BOTH_HEADERS = env.bool("TOKENHUB_CALLBACK_BOTH_HEADERS", False)
# What raises an alert.
TOKENHUB_STALLED_AFTER = timedelta(minutes=env.float("TOKENHUB_STALLED_MINUTES", 15.0))
TOKENHUB_ERASURE_OVERDUE = timedelta(hours=env.float("TOKENHUB_ERASURE_OVERDUE_HOURS", 72.0))
# Who is told of alerts, beside whoever looks.
TOKENHUB_EMAIL_URL: str = env.str("TOKENHUB_EMAIL_URL", "")
TOKENHUB_ALERT_EMAILS: list[str] = env.list("TOKENHUB_ALERT_EMAILS", default=[])
TOKENHUB_ALERT_FROM: str = env.str("TOKENHUB_ALERT_FROM", "tokenhub@localhost")
TOKENHUB_ALERT_WEBHOOK_URL: str = env.str("TOKENHUB_ALERT_WEBHOOK_URL", "")
TOKENHUB_ALERT_WEBHOOK_SECRET: str = env.str("TOKENHUB_ALERT_WEBHOOK_SECRET", "")
TOKENHUB_ALERT_PATIENCE = timedelta(seconds=env.float("TOKENHUB_ALERT_PATIENCE_SECONDS", 60.0))
TOKENHUB_ALERT_REMINDER = timedelta(hours=env.float("TOKENHUB_ALERT_REMINDER_HOURS", 24.0))
MAILERS = {"default": mailer(TOKENHUB_EMAIL_URL)} if TOKENHUB_EMAIL_URL else {}
# How long a process believes what it read of an app's keys and issuer: a change is seen everywhere after that.
TOKENHUB_KEY_CACHE = timedelta(seconds=env.float("TOKENHUB_KEY_CACHE_SECONDS", 3.0))
TOKENHUB_KEY_USED_INTERVAL = timedelta(minutes=env.float("TOKENHUB_KEY_USED_MINUTES", 15.0))
# Requests a minute; 0: no limit. A mobile key is a whole fleet's, an address may be a whole mobile network's.
TOKENHUB_LIMIT_MOBILE_KEY = env.int("TOKENHUB_LIMIT_MOBILE_KEY", 60_000)
TOKENHUB_LIMIT_SERVER_KEY = env.int("TOKENHUB_LIMIT_SERVER_KEY", 60_000)
TOKENHUB_LIMIT_ADDRESS = env.int("TOKENHUB_LIMIT_ADDRESS", 3_000)
TOKENHUB_LIMIT_REFUSED = env.int("TOKENHUB_LIMIT_REFUSED", 60)
# Whose X-Forwarded-For is believed.
TOKENHUB_TRUSTED_PROXIES = _networks("TOKENHUB_TRUSTED_PROXIES")
# The signing keys of the apps' identity providers.
TOKENHUB_JWKS_REFRESH = timedelta(minutes=env.float("TOKENHUB_JWKS_REFRESH_MINUTES", 60.0))
TOKENHUB_JWKS_MIN_INTERVAL = timedelta(seconds=env.float("TOKENHUB_JWKS_MIN_INTERVAL_SECONDS", 10.0))
# Hosts of a JWKS that may have a private address, e.g. an identity provider inside the company's network.
TOKENHUB_JWKS_PRIVATE_HOSTS: list[str] = env.list("TOKENHUB_JWKS_PRIVATE_HOSTS", default=[])
TOKENHUB_CENSUS_PERIOD = timedelta(minutes=env.more_than_0("TOKENHUB_CENSUS_MINUTES", 5.0))
TOKENHUB_FIGURES_PERIOD = timedelta(minutes=env.float("TOKENHUB_FIGURES_MINUTES", 15.0))
# Whoever scrapes /metrics proves it by this; without it there is no /metrics.
TOKENHUB_METRICS_TOKEN: str = env.str("TOKENHUB_METRICS_TOKEN", "")
# Where workers and beat leave a mark that a probe asks for the age of.
TOKENHUB_ALIVE_PATH: str = env.str("TOKENHUB_ALIVE_PATH", "")
# How long finished rows are kept.
TOKENHUB_PURGE_REGISTRATIONS = timedelta(days=env.float("TOKENHUB_PURGE_REGISTRATIONS_DAYS", 30.0))
TOKENHUB_PURGE_EVENTS = timedelta(days=env.float("TOKENHUB_PURGE_EVENTS_DAYS", 90.0))
TOKENHUB_PURGE_EVENT_COUNTS = timedelta(days=env.float("TOKENHUB_PURGE_EVENT_COUNTS_DAYS", 1095.0))
TOKENHUB_HISTORY = timedelta(days=env.float("TOKENHUB_HISTORY_DAYS", 90.0))
TOKENHUB_PURGE_DEVICES = timedelta(days=env.float("TOKENHUB_PURGE_DEVICES_DAYS", 90.0))
TOKENHUB_PURGE_RECEIPTS = timedelta(days=env.float("TOKENHUB_PURGE_RECEIPTS_DAYS", 1095.0))
# The table of events has one partition for each such time. Another length holds for those that are made from then on.
TOKENHUB_EVENT_PARTITION = timedelta(days=env.more_than_0("TOKENHUB_EVENT_PARTITION_DAYS", 7.0))
# For how long an event that comes again is known to be a repeat.
TOKENHUB_EVENT_REPEATS = timedelta(days=env.float("TOKENHUB_EVENT_REPEATS_DAYS", 30.0))
TOKENHUB_EVENT_MAX_AGE = timedelta(days=env.float("TOKENHUB_EVENT_MAX_AGE_DAYS", 30.0))
TOKENHUB_EVENT_GIVE_UP = timedelta(days=env.float("TOKENHUB_EVENT_GIVE_UP_DAYS", 3.0))
TOKENHUB_WORKER_LANES = min(env.more_than_0("TOKENHUB_WORKER_LANES", 3), _pool_max)
TOKENHUB_EVENT_BATCH = env.more_than_0("TOKENHUB_EVENT_BATCH", 500)
TOKENHUB_EVENT_CONCURRENCY = env.more_than_0("TOKENHUB_EVENT_CONCURRENCY", 16)

"""The settings of signing in, as Django, django-allauth and django-axes want them; settings.py takes them over."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from tokenhub.signin.entra import Grant, parse_grants


def read(env: Any, *, https: bool, embedded: bool) -> dict[str, Any]:
    """Every setting by its name. Raises ImproperlyConfigured where one is wrong."""
    entra = {
        "TOKENHUB_ENTRA_TENANT": env.str("TOKENHUB_ENTRA_TENANT", ""),
        "TOKENHUB_ENTRA_CLIENT_ID": env.str("TOKENHUB_ENTRA_CLIENT_ID", ""),
        "TOKENHUB_ENTRA_CLIENT_SECRET": env.str("TOKENHUB_ENTRA_CLIENT_SECRET", ""),
        "TOKENHUB_ENTRA_AUTHORITY": env.address("TOKENHUB_ENTRA_AUTHORITY", "https://login.microsoftonline.com"),
        "TOKENHUB_ENTRA_ROLES": _grants(env.list("TOKENHUB_ENTRA_ROLES", default=[])),
    }
    _refuse_half(entra)
    hours = env.more_than_0("TOKENHUB_SESSION_HOURS", 8.0)
    return {
        **entra,
        # `up` on a laptop is to be tried at once; anything that others can reach asks for more than a password.
        "TOKENHUB_SECOND_FACTOR": env.bool("TOKENHUB_SECOND_FACTOR", not embedded),
        "SESSION_COOKIE_AGE": int(timedelta(hours=hours).total_seconds()),
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",  # not Strict: one comes back from Entra ID
        # Browsers take a name with this prefix from no other host, and over TLS alone.
        "SESSION_COOKIE_NAME": "__Host-tokenhub" if https else "tokenhub",
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SAMESITE": "Lax",
        **_axes(env.more_than_0("TOKENHUB_LOCKOUT_FAILURES", 5), env.float("TOKENHUB_LOCKOUT_MINUTES", 15.0)),
        **_allauth(entra, https=https),
    }


def form_targets(settings: Mapping[str, Any]) -> list[str]:
    """Where a form may lead beside ourselves: browsers follow the policy through the redirect to Entra ID."""
    authority = urlsplit(settings["TOKENHUB_ENTRA_AUTHORITY"])
    return [f"{authority.scheme}://{authority.netloc}"] if settings["TOKENHUB_ENTRA_CLIENT_ID"] else []


def _grants(texts: list[str]) -> list[Grant]:
    try:
        return parse_grants(texts)
    except ValueError as error:
        raise ImproperlyConfigured(f"TOKENHUB_ENTRA_ROLES: {error}.") from None


def _refuse_half(entra: Mapping[str, Any]) -> None:
    needed = [name for name in entra if name != "TOKENHUB_ENTRA_AUTHORITY"]
    missing = [name for name in needed if not entra[name]]
    if missing and len(missing) < len(needed):
        raise ImproperlyConfigured(f"Signing in with Entra ID is half configured: {', '.join(missing)} is missing.")
    if entra["TOKENHUB_ENTRA_TENANT"].lower() in ("common", "organizations", "consumers"):
        raise ImproperlyConfigured("TOKENHUB_ENTRA_TENANT must be your own: this one lets in anybody's accounts.")


def _axes(failures: int, minutes: float) -> dict[str, Any]:
    return {
        "AUTHENTICATION_BACKENDS": [
            "axes.backends.AxesStandaloneBackend",
            "allauth.account.auth_backends.AuthenticationBackend",
        ],
        "AXES_FAILURE_LIMIT": failures,
        "AXES_COOLOFF_TIME": timedelta(minutes=minutes),
        # By both: nobody locks a colleague out from elsewhere, and one office's address is not locked by one of them.
        "AXES_LOCKOUT_PARAMETERS": [["username", "ip_address"]],
        "AXES_RESET_ON_SUCCESS": True,
        "AXES_USERNAME_CALLABLE": "tokenhub.signin.adapters.name_tried",
        "AXES_CLIENT_IP_CALLABLE": "tokenhub.signin.adapters.address_of",
        "AXES_LOCKOUT_TEMPLATE": "signin/locked.html",
        "AXES_DISABLE_ACCESS_LOG": True,  # the audit log has it
        "AXES_ENABLE_ADMIN": False,
        "AXES_VERBOSE": False,
    }


def _allauth(entra: Mapping[str, Any], *, https: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "LOGIN_URL": "account_login",
        "LOGIN_REDIRECT_URL": reverse_lazy("admin:index"),
        "ACCOUNT_ADAPTER": "tokenhub.signin.adapters.AccountAdapter",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_UNIQUE_EMAIL": False,
        "ACCOUNT_SESSION_REMEMBER": True,  # as long as SESSION_COOKIE_AGE
        "ACCOUNT_LOGOUT_REDIRECT_URL": "account_login",
        "ACCOUNT_DEFAULT_HTTP_PROTOCOL": "https" if https else "http",
        "MFA_ADAPTER": "tokenhub.signin.adapters.MfaAdapter",
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,  # accounts are administrators' to make, and need no address
        "MFA_TOTP_TOLERANCE": 1,
        "SOCIALACCOUNT_ADAPTER": "tokenhub.signin.adapters.SocialAdapter",
    }
    if entra["TOKENHUB_ENTRA_CLIENT_ID"]:
        app = {
            "provider_id": "entra",
            "name": "Microsoft",
            "client_id": entra["TOKENHUB_ENTRA_CLIENT_ID"],
            "secret": entra["TOKENHUB_ENTRA_CLIENT_SECRET"],
            "settings": {
                "server_url": f"{entra['TOKENHUB_ENTRA_AUTHORITY']}/{entra['TOKENHUB_ENTRA_TENANT']}/v2.0",
                "uid_field": "oid",  # stays the same, whatever becomes of the person's name or our registration
                "fetch_userinfo": False,  # the id token says it all
                "token_auth_method": "client_secret_post",
                "oauth_pkce_enabled": True,
            },
        }
        settings["SOCIALACCOUNT_PROVIDERS"] = {"openid_connect": {"APPS": [app]}}
    return settings

"""One spelling for everything that is compared: hosts, e-mail addresses, phone numbers, tokens."""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from registry.services.errors import InvalidInput
from registry.states import Platform

# Addresses below .local and .test stand in Dataverse too; the library keeps this list to be changed.
SPECIAL_USE_DOMAIN_NAMES.clear()

# An address that only its domain can keep from being in its normal form; nearly all are. Lengths are RFC 5321's.
_PLAIN_ADDRESS = re.compile(r"(?=.{1,254}\Z)(?=[^@]{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@([a-z0-9.-]+)")
_APNS_TOKEN = re.compile(r"[0-9a-fA-F]{1,64}")
_FCM_TOKEN = re.compile(r"[!-~]{1,300}")
# A Firebase installation id is 132 bits as base64url, whose first four are 0111; Firebase's documentation, "Manage
# Firebase installations". An FCM token contains one and is much longer.
_FIREBASE_INSTALLATION = re.compile(r"[cdef][A-Za-z0-9_-]{21}")
_FULL_APNS_TOKEN = re.compile(r"[0-9a-fA-F]{64}")


MAX_USER_ID = 255
UNREADABLE = "\ufffd"  # stands for what is no UTF-8, in a path above all


def is_user_id(value: str) -> bool:
    """Whether an app may call a user so: all of it can be seen, and nobody would trim it. Two that look alike would be
    two users, and one of them would be exported and erased as the other."""
    visible = 0 < len(value) <= MAX_USER_ID and value.isprintable() and UNREADABLE not in value
    return visible and value == value.strip()


def https_origin(field: str, text: str, suffixes: Sequence[str]) -> str:
    """Return `https://host[:port]` for any documented spelling of an endpoint.

    Microsoft shows endpoints with and without `https://` and a trailing slash. Secrets travel to this host, so
    only hosts of `suffixes` are taken (a leading dot means any host below). Raises InvalidInput.
    """
    spelled = text.strip()
    parts = urlsplit(spelled if "://" in spelled else f"https://{spelled}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput(field, f"{text!r} has no valid port.") from None
    if parts.scheme != "https":
        raise InvalidInput(field, "must be an https address.")
    if not host or parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise InvalidInput(field, f"{text!r} is not a host name or an https://host address.")
    if not any(host.endswith(suffix) if suffix.startswith(".") else host == suffix for suffix in suffixes):
        raise InvalidInput(field, f"the host {host!r} is not allowed; allowed are: {', '.join(suffixes)}.")
    return f"https://{host}" if port in (None, 443) else f"https://{host}:{port}"


def email_address(field: str, text: str) -> str:
    """Return the address in its normal form, any script allowed. Raises InvalidInput with the reason.

    Only the form is checked, nothing is looked up: an address of a closed network is as good a key as any.
    """
    plain = _PLAIN_ADDRESS.fullmatch(text)
    if plain is not None and _is_plain_domain(plain[1]):
        return text
    try:
        return _validated(text.strip())
    except EmailNotValidError as error:
        raise InvalidInput(field, f"is not an e-mail address: {error}") from None


def _validated(text: str) -> str:
    return validate_email(text, check_deliverability=False, globally_deliverable=False).normalized


@lru_cache(maxsize=1024)
def _is_plain_domain(domain: str) -> bool:
    """Whether a domain is good and spelled as it is kept. A few have nearly all addresses, and checking one is slow."""
    address = f"a@{domain}"
    try:
        return _validated(address) == address
    except EmailNotValidError:
        return False


def phone_number(field: str, text: str, region: str = "") -> str:
    """Return the number in E.164, e.g. +4930123456.

    `region` is the country (ISO 3166, two letters) of numbers written without one. Raises InvalidInput.
    """
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        number = None
    spelled = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if number else ""
    # Some national plans allow more than the 15 digits that E.164 does.
    if number is None or not phonenumbers.is_possible_number(number) or len(spelled) > 16:
        hint = "" if region else " with its country code, e.g. +4930123456"
        raise InvalidInput(field, f"is not a phone number{hint}.")
    return spelled


def device_token(field: str, text: str, platform: str) -> str:
    """Return the token as CI-J takes it; hex in lower case for iOS. Raises InvalidInput with the reason.

    CI-J takes the raw APNs token (hex, at most 64) on iOS, and stores at most 300 characters:
    MicrosoftDocs/customer-insights, ci-docs/journeys/developer-push-device-registration.md.
    """
    if platform == Platform.IOS:
        if not _APNS_TOKEN.fullmatch(text):
            raise InvalidInput(field, f"is not a raw APNs token (hex, at most 64 characters).{_hint_for_ios(text)}")
        return text.lower()
    if _FIREBASE_INSTALLATION.fullmatch(text):
        raise InvalidInput(
            field, "is a Firebase installation id. The FCM token is what FirebaseMessaging.getToken() gives."
        )
    if _FULL_APNS_TOKEN.fullmatch(text):
        raise InvalidInput(field, "looks like an APNs token, which is one of platform 'ios'.")
    if not _FCM_TOKEN.fullmatch(text):
        raise InvalidInput(field, "is not an FCM token (1 to 300 characters, no blanks).")
    return text


def _hint_for_ios(text: str) -> str:
    raw = "Post what didRegisterForRemoteNotificationsWithDeviceToken gives, as hex."
    if _FIREBASE_INSTALLATION.fullmatch(text):
        return f" It is a Firebase installation id. {raw}"
    if ":" in text:
        return f" It is Firebase's own token (FCM), which Customer Insights - Journeys cannot send to on iOS. {raw}"
    return ""

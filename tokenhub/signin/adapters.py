"""What django-allauth asks us: who may come in, with which roles, from which address; and how it keeps secrets."""

import os
import time
from functools import partial
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry.crypto import SecretUnreadable, decrypt, encrypt
from registry.services.access import give
from registry.services.audit import record
from registry.services.limits import client_of
from tokenhub.signin.entra import Access, Unusable, access_of

FRESH_SECONDS = 300


def address_of(request: HttpRequest) -> str:
    """The client's address as text, as far as it can be believed; empty where there is none."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    client = client_of(request.META.get("REMOTE_ADDR", ""), forwarded, tuple(settings.TOKENHUB_TRUSTED_PROXIES))
    return str(client or "")


def name_tried(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """The account that a password was tried for: django-axes counts by it."""
    return str((credentials or {}).get("username") or request.POST.get("login", ""))


def refuse(request: HttpRequest, why: str) -> HttpResponse:
    """The page for those who proved who they are, and may not come in."""
    return render(request, "signin/refused.html", {"why": why}, status=403)


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up; accounts are made by administrators, or by Entra ID."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return address_of(request) or "0.0.0.0"  # noqa: S104 an address to count by, not one to listen on

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        if user.is_active and not user.is_staff:
            return refuse(request, "This account may not use the admin. An administrator can allow it.")
        answer: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return answer

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Wrong passwords are django-axes' to count, by account and address: allauth's limit by account alone would let
        anybody lock anybody out. Wrong codes are still limited by allauth, by account."""

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Who signed in some minutes ago need not say the password again to add the second factor."""
        request = context.request
        records = get_authentication_records(request, request.user)
        return not any(time.time() - record["at"] < FRESH_SECONDS for record in records)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """No "signed in as": the page says so."""


class SocialAdapter(DefaultSocialAccountAdapter):
    """Entra ID says who somebody is and in which groups; the roles and apps of the account follow at each sign-in."""

    def get_requests_session(self) -> Any:
        session = super().get_requests_session()
        session.max_redirects = 0
        if bundle := os.environ.get("SSL_CERT_FILE"):  # as for every other call to Microsoft
            session.request = partial(session.request, verify=bundle)
        return session

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True  # whose groups are known; pre_social_login has seen to that

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        try:
            access = access_of(_claims(sociallogin), settings.TOKENHUB_ENTRA_ROLES)
        except Unusable as error:
            raise ImmediateHttpResponse(refuse(request, str(error))) from None
        sociallogin.user.is_staff = True
        if sociallogin.is_existing:
            _apply(request, sociallogin.user, access)

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        # An account of that name with a password is somebody else's until an administrator says otherwise: allauth
        # makes a name of its own then.
        user: User = super().save_user(request, sociallogin, form)
        _apply(request, user, access_of(_claims(sociallogin), settings.TOKENHUB_ENTRA_ROLES))
        return user


def _claims(sociallogin: Any) -> dict[str, Any]:
    claims: dict[str, Any] = sociallogin.account.extra_data.get("id_token") or {}
    return claims


def _apply(request: HttpRequest, user: User, access: Access) -> None:
    """Roles and apps are Entra ID's to give: what was changed here by hand lasts until the next sign-in."""
    left_out = " and ".join(sorted({str(grant) for grant in access.left_out}))
    with transaction.atomic():
        before = set(user.groups.values_list("name", flat=True))
        user.groups.set(Group.objects.filter(name=access.role))
        give(user.pk, None if access.apps is None else set(access.apps))
        if not user.is_staff:
            user.is_staff = True
        user.save(update_fields=["is_staff"])
        if before != {access.role} or left_out:
            record(user, f"role from Entra ID: {access.role}{left_out and f'; left out: {left_out}'}", user)
    if left_out:
        messages.warning(
            request,
            f"Your groups also make you {left_out}. An account has one role for all apps that it sees, so this one has "
            "the highest, for the apps that it is given for. An administrator of Entra ID can change the groups.",
        )


class MfaAdapter(DefaultMFAAdapter):
    """The secrets behind the codes are encrypted like every other secret."""

    def encrypt(self, text: str) -> str:
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return decrypt(encrypted_text)
        except SecretUnreadable:
            why = (
                "The second factor of this account cannot be read: it was encrypted with a key that is not in "
                "TOKENHUB_ENCRYPTION_KEYS. Put that key back, or have an administrator forget this second factor."
            )
            raise ImmediateHttpResponse(refuse(context.request, why)) from None

    def get_totp_issuer(self) -> str:
        return "tokenhub"

"""Changing an app's ApiToken without a gap: the new one is used when Customer Insights - Journeys has accepted it.

Until then the old one stays in use. Afterwards it stays known, for phones that prove themselves by it (the drop-in
paths) and for callbacks that were signed with it, until a person has it forgotten.
"""

from datetime import timedelta
from hmac import compare_digest

from django.db.models import Q
from django.db.models.functions import Now

from registry.models import MobileApp
from registry.services.errors import InvalidInput
from registry.services.locking import in_transaction

TRY_EVERY = timedelta(minutes=1)


def begin(app: MobileApp, token: str) -> None:
    """Keep `token` beside the one in use, to be tried by workers. Raises InvalidInput."""
    spelled = token.strip()
    if not spelled or not spelled.isprintable():
        raise InvalidInput("api_token", "It is empty, or holds what no token holds.")
    if spelled == app.api_token:
        raise InvalidInput("api_token", "It is the one in use.")
    MobileApp.objects.filter(pk=app.pk).update(next_api_token=spelled, api_token_tried_at=None)


def takes_turn(app: MobileApp) -> bool:
    """Whether the next token is to be tried now: by one worker at a time, and at most once in TRY_EVERY."""
    rested = Q(api_token_tried_at=None) | Q(api_token_tried_at__lt=Now() - TRY_EVERY)
    waiting = MobileApp.objects.filter(rested, pk=app.pk, replaced_by=None).exclude(next_api_token="")
    return waiting.update(api_token_tried_at=Now()) == 1


def promote(app: MobileApp, token: str) -> bool:
    """Use `token`, which was accepted, from now on. Returns whether it was still the next one."""

    def change() -> bool:
        row = MobileApp.objects.select_for_update(no_key=True).get(pk=app.pk)
        if row.next_api_token != token:
            return False
        row.former_api_token, row.api_token, row.next_api_token = row.api_token, token, ""
        row.save(update_fields=["api_token", "former_api_token", "next_api_token"])
        MobileApp.objects.filter(pk=app.pk).update(api_token_changed_at=Now())
        return True

    return in_transaction(change)


def cancel(app: MobileApp) -> None:
    """Try the next token no longer."""
    MobileApp.objects.filter(pk=app.pk).update(next_api_token="")


def forget_former(app: MobileApp) -> None:
    """Take the token from before no longer, neither from phones nor in callbacks."""
    MobileApp.objects.filter(pk=app.pk).update(former_api_token="")


def known(app: MobileApp) -> list[str]:
    """Every token that proves the app now."""
    return [token for token in (app.api_token, app.next_api_token, app.former_api_token) if token]


def proves(app: MobileApp | None, token: str) -> bool:
    """Whether `token` is one of the app's; of no app it is none, which takes as long to find out."""
    same = [compare_digest(one.encode(), token.encode()) for one in (known(app) if app else [""])]
    return bool(token) and any(same)

"""Rotate: try ApiTokens that are to replace others, and use them once CI-J accepts them.

A status call proves a token and changes nothing. One that is refused is tried again every minute until a
person cancels it: it may have been stored here before it was made valid there.
"""

import logging

from registry.models import MobileApp
from registry.services.api_tokens import promote, takes_turn
from sync import connect, pauses
from sync.clients.errors import RemoteError

logger = logging.getLogger(__name__)


def run_batch(app: MobileApp) -> int:
    """Try the app's next token where it has one; return whether that is in use now."""
    return int(bool(app.next_api_token) and takes_turn(app) and prove(app) is None)


def prove(app: MobileApp) -> RemoteError | None:
    """Try the app's next token; return what CI-J has against it, or None where it is in use now."""
    token = app.next_api_token
    try:
        connect.cij_with(app, token).check()
    except RemoteError as error:
        return error
    if promote(app, token):
        logger.info("%s: the new ApiToken is in use", app)
        app.refresh_from_db()
        pauses.end_for_credentials(app)
    return None

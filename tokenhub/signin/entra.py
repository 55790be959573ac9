"""From what Entra ID says of a person to roles and apps: pure functions.

Source: entra-docs, identity-platform/id-token-claims-reference.md, access-token-claims-reference.md (groups overage).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EVERY_APP = "*"


class Unusable(Exception):
    """The person may not come in; the text says why, and what an administrator of Entra ID can do."""


@dataclass(frozen=True)
class Grant:
    """What the members of one group, or the holders of one app role, may do. `app`: a slug, or every app."""

    group: str
    role: str
    app: str = EVERY_APP


@dataclass(frozen=True)
class Access:
    """What one person may do. `apps` None: every app."""

    roles: frozenset[str]
    apps: frozenset[str] | None


def parse_grants(texts: Iterable[str], roles: Iterable[str]) -> list[Grant]:
    """Read settings like `GROUP=viewer` and `GROUP=operator:shop`. Raises ValueError, saying which is wrong."""
    grants = []
    for text in texts:
        group, _, rest = text.partition("=")
        role, _, app = rest.partition(":")
        if not group.strip() or role.strip() not in roles:
            raise ValueError(f"{text!r} is not GROUP=ROLE or GROUP=ROLE:APP, with a role among {', '.join(roles)}")
        grants.append(Grant(group.strip().lower(), role.strip(), app.strip() or EVERY_APP))
    return grants


def access_of(claims: Mapping[str, Any], grants: Iterable[Grant]) -> Access:
    """What the person of an id token may do: the sum of what their groups and app roles give. Raises Unusable.

    A role holds for all apps that any of the groups gives: give different roles for different apps to different
    accounts.
    """
    held = {str(value).lower() for claim in ("groups", "roles") for value in _listed(claims.get(claim))}
    given = [grant for grant in grants if grant.group in held]
    if not given and "groups" in _mapping(claims.get("_claim_names")):
        raise Unusable(
            "You are in more groups than Entra ID tells. Its administrator can limit the claim to groups assigned to "
            "the application, or use app roles."
        )
    if not given:
        raise Unusable("None of your groups may use tokenhub. Its administrator decides which do.")
    apps = {grant.app for grant in given}
    return Access(frozenset(grant.role for grant in given), None if EVERY_APP in apps else frozenset(apps))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}

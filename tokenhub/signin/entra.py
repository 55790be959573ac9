"""From what Entra ID says of a person to roles and apps: pure functions.

Source: entra-docs, identity-platform/id-token-claims-reference.md, access-token-claims-reference.md (groups overage).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.states import ROLES

EVERY_APP = "*"


class Unusable(Exception):
    """The person may not come in; the text says why, and what an administrator of Entra ID can do."""


@dataclass(frozen=True)
class Grant:
    """What the members of one group, or the holders of one app role, may do. `app`: a slug, or every app."""

    group: str
    role: str
    app: str = EVERY_APP

    def __str__(self) -> str:
        return f"{self.role} of {'every app' if self.app == EVERY_APP else self.app}"


@dataclass(frozen=True)
class Access:
    """What one person may do. `apps` None: every app. `left_out`: what groups of theirs give beyond that."""

    role: str
    apps: frozenset[str] | None
    left_out: tuple[Grant, ...] = ()


def parse_grants(texts: Iterable[str]) -> list[Grant]:
    """Read settings like `GROUP=viewer` and `GROUP=operator:shop`. Raises ValueError, saying which is wrong."""
    grants = []
    for text in texts:
        group, _, rest = text.partition("=")
        role, one, app = rest.partition(":")
        if not group.strip() or role.strip() not in ROLES or (one and not app.strip()):
            raise ValueError(f"{text!r} is not GROUP=ROLE or GROUP=ROLE:APP, with a role among {', '.join(ROLES)}")
        grants.append(Grant(group.strip().lower(), role.strip(), app.strip() or EVERY_APP))
    return grants


def access_of(claims: Mapping[str, Any], grants: Iterable[Grant]) -> Access:
    """What the person of an id token may do, by their groups and app roles. Raises Unusable.

    An account has one role for all apps that it sees. So it is the highest one that is given, for the apps that it is
    given for: never more than the groups give, and what lower roles give for other apps is left out.
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
    role = max((grant.role for grant in given), key=ROLES.index)
    apps = frozenset(grant.app for grant in given if grant.role == role)
    if EVERY_APP in apps:
        return Access(role, None)
    return Access(role, apps, tuple(grant for grant in given if grant.app not in apps))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}

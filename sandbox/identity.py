"""The credentials, the port and the certificate authority that stay the same when the sandbox is started again."""

import json
import random
import secrets
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sandbox.files import DamagedError, write_private


@dataclass(frozen=True, slots=True)
class Identity:
    """What clients sign in with, what the admin path asks for, and the key that access tokens are signed with."""

    tenant: str
    client_id: str
    client_secret: str
    admin_token: str
    signing_key: str
    port: int

    @classmethod
    def of(cls, folder: Path) -> "Identity":
        """The identity kept in `folder`, made on the spot at first; DamagedError where the file cannot be read."""
        path = folder / "identity.json"
        if not path.exists():
            identity = cls._new()
            identity.keep(folder)
            return identity
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise DamagedError(f"{path} is damaged: {error}. Remove it to get new credentials.") from error

    @classmethod
    def _new(cls) -> "Identity":
        # Below the range that the kernel takes outgoing connections' ports from: so it is still free next time.
        port = random.SystemRandom().randint(20000, 29999)
        secret = secrets.token_urlsafe(32)
        return cls(
            tenant=str(uuid.uuid4()),
            client_id=str(uuid.uuid4()),
            client_secret=secret,
            admin_token=secrets.token_urlsafe(32),
            signing_key=secrets.token_urlsafe(32),
            port=port,
        )

    def keep(self, folder: Path) -> None:
        """Write it down for the next start."""
        write_private(folder / "identity.json", json.dumps(asdict(self), indent=1))

    def with_port(self, port: int) -> "Identity":
        """A copy with another port."""
        return replace(self, port=port)

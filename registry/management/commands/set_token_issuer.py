"""`manage.py set_token_issuer`: say who signs the tokens that name an app's users."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand, app_by_slug, comma_separated, secret
from registry.models import TokenIssuer
from registry.services.token_issuers import default_algorithms, set_token_issuer


class Command(JsonCommand):
    help = (
        "Say who signs the tokens (JWT) that name an app's users, and how they are proven: by a JWKS, by public keys, "
        "or by a shared secret. In place of what was set before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--issuer", required=True, help="the claim iss, exactly as the tokens have it")
        parser.add_argument("--audience", required=True, help="the claim aud")
        proof = parser.add_mutually_exclusive_group(required=True)
        proof.add_argument("--jwks-url", default="", help="where the issuer shows its public keys (https)")
        proof.add_argument("--public-keys", type=Path, help="a file of public keys (PEM)")
        proof.add_argument("--secret", default="", help="a shared secret, or @env:NAME, or - for standard input")
        parser.add_argument(
            "--algorithms", type=comma_separated, help="allowed algorithms (default: RS256,ES256; HS256 with a secret)"
        )
        parser.add_argument("--leeway", type=int, default=30, help="seconds that clocks may differ (default: 30)")
        parser.add_argument("--user-claim", default="sub", help="the claim with the user's id (default: sub)")
        parser.add_argument("--email-claim", default="email", help="the claim with the e-mail address; '' for none")
        parser.add_argument(
            "--phone-claim", default="phone_number", help="the claim with the phone number; '' for none"
        )
        parser.add_argument(
            "--installation-claim", default="", help="a claim that has to be the installation id (default: none)"
        )
        parser.add_argument(
            "--trust-unmarked",
            action="store_true",
            help="take e-mail and phone also without email_verified and phone_number_verified: only where the issuer "
            "proves them itself",
        )

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        taken = ("issuer", "audience", "jwks_url", "leeway", "user_claim", "email_claim", "phone_claim")
        issuer = TokenIssuer(
            **{name: options[name] for name in (*taken, "installation_claim", "trust_unmarked")},
            public_keys=_read(options["public_keys"]) if options["public_keys"] else "",
            secret=secret(options["secret"]) if options["secret"] else "",
        )
        issuer.algorithms = options["algorithms"] or default_algorithms(issuer)
        set_token_issuer(app, issuer)
        return {"app": app.slug, "issuer": issuer.issuer, "algorithms": issuer.algorithms, "identity": app.identity}

    def say(self, result: dict[str, Any]) -> str:
        unused = "" if result["identity"] == "jwt" else f" Its identity policy is still {result['identity']}."
        return f"Users of {result['app']} are named by tokens of {result['issuer']} from now on.{unused}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--public-keys: {path} cannot be read: {error}") from None

"""`manage.py create_app`: store a mobile app."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand, comma_separated, secret
from registry.models import DataverseEnvironment
from registry.services.apps import create_app
from registry.states import DataverseTable, Identity, MatchKey


class Command(JsonCommand):
    help = "Store a mobile app, as the Developer information tab of Customer Insights - Journeys shows it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--slug", required=True, help="a short name of your choice, e.g. shop")
        parser.add_argument("--name", required=True, help="the name that people read")
        parser.add_argument("--org-id", required=True, help="the organisation id (GUID)")
        parser.add_argument("--mobile-app-id", required=True, help="the mobile app id (GUID)")
        parser.add_argument("--endpoint", required=True, help="the public endpoint, e.g. public-eur.mkt.dynamics.com")
        parser.add_argument("--api-token", required=True, help="the ApiToken, or @env:NAME, or - for standard input")
        parser.add_argument("--dataverse", required=True, help="the name of a Dataverse environment")
        parser.add_argument(
            "--match",
            type=comma_separated,
            default=DataverseTable.values,
            help=f"tables to look users up in, in this order (default: {','.join(DataverseTable.values)})",
        )
        parser.add_argument(
            "--match-by",
            type=comma_separated,
            default=MatchKey.values,
            help=f"keys to match by, in this order (default: {','.join(MatchKey.values)})",
        )
        parser.add_argument(
            "--identity",
            choices=Identity.values,
            default=Identity.JWT,
            help="jwt: signed tokens and server keys name users; backend: only server keys do; unverified: any key may "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--default-region",
            default="",
            help="the country (ISO 3166, e.g. DE) of phone numbers that are posted without one (default: none)",
        )
        parser.add_argument(
            "--android-stale-days",
            type=int,
            default=270,
            help="Android devices not seen for so many days are retired; 0: never (default: %(default)s)",
        )
        parser.add_argument(
            "--max-devices-per-user",
            type=int,
            default=25,
            help="a user's devices beyond these are retired; 0: no limit (default: %(default)s)",
        )
        parser.add_argument(
            "--drop-in",
            action="store_true",
            help="take Microsoft's own registration calls too; whoever reads the ApiToken out of the app's binary can "
            "make them, so not with jwt",
        )

    def act(self, **options: Any) -> dict[str, Any]:
        environment = DataverseEnvironment.objects.filter(name=options["dataverse"]).first()
        if environment is None:
            raise CommandError(
                f"There is no Dataverse environment {options['dataverse']!r}; make it with create_dataverse first."
            )
        names = ("slug", "name", "org_id", "mobile_app_id", "endpoint", "match", "match_by", "identity")
        limits = ("drop_in", "default_region", "android_stale_days", "max_devices_per_user")
        app = create_app(
            **{name: options[name] for name in (*names, *limits)},
            api_token=secret(options["api_token"]),
            dataverse=environment,
        )
        return {
            "slug": app.slug,
            "org_id": app.org_id,
            "mobile_app_id": app.mobile_app_id,
            "endpoint": app.endpoint,
            "identity": app.identity,
        }

    def say(self, result: dict[str, Any]) -> str:
        stored = f"App {result['slug']} stored: {result['endpoint']}, identity policy {result['identity']}"
        is_next = "\nNext, say who signs the tokens that name its users: manage.py set_token_issuer --help"
        return stored + (is_next if result["identity"] == Identity.JWT else "")

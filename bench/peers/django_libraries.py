"""fcm-django and django-push-notifications, as their documentation sets them up. Runs in the environment of the peers.

Both have REST framework's token authentication, UPDATE_ON_DUPLICATE_REG_ID (without it a launch that repeats what is
known is refused), and Django's own connection pool; no middleware that an API does not need.

    python -m bench.peers.django_libraries DEVICES    # makes the tables and the devices, prints the token as JSON
"""

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings

_database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY="not a secret",  # noqa: S106 nobody is asked
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="bench.peers.django_urls",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework.authtoken",
        "fcm_django",
        "push_notifications",
    ],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _database.path.removeprefix("/"),
            "USER": _database.username,
            "PASSWORD": _database.password,
            "HOST": _database.hostname,
            "PORT": _database.port,
            # Beside tokenhub's tables.
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 4}, "options": "-c search_path=peers"},
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
    FCM_DJANGO_SETTINGS={"UPDATE_ON_DUPLICATE_REG_ID": True},
    PUSH_NOTIFICATIONS_SETTINGS={"UPDATE_ON_DUPLICATE_REG_ID": True},
)
django.setup()


def main() -> None:
    """Make everything."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from fcm_django.models import FCMDevice
    from push_notifications.models import GCMDevice
    from rest_framework.authtoken.models import Token

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bench.fleet import token

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="anna")
    numbers = range(1, int(sys.argv[1]) + 1)
    FCMDevice.objects.bulk_create(
        (FCMDevice(registration_id=token(n), type="android", device_id=f"phone-{n}", user=user) for n in numbers),
        batch_size=5000,
    )
    GCMDevice.objects.bulk_create(
        (GCMDevice(registration_id=token(n), cloud_message_type="FCM", device_id=n, user=user) for n in numbers),
        batch_size=5000,
    )
    print(json.dumps({"token": Token.objects.create(user=user).key}))  # noqa: T201 what it is for


if __name__ == "__main__":
    main()
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()

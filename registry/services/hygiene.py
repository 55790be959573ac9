"""Retiring devices: because somebody said so, because nobody has seen them for too long, because a user has too many.

The planner un-desires what a retired device desired, and the cleanup follows. It lives again when it posts.
"""

from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.models import Device, MobileApp, secret_columns
from registry.ports import announce
from registry.services import correlation
from registry.services.locking import in_transaction
from registry.states import Platform, RetiredReason

BATCH = 500


def retire(which: Q, reason: RetiredReason) -> int:
    """Retire the living devices among these; return how many."""
    return Device.objects.filter(which, retired_at__isnull=True).update(
        retired_at=Now(), retired_reason=reason, revision=F("revision") + 1, **correlation.origin()
    )


def retire_surplus(app: MobileApp, device: Device) -> None:
    """Keep the device's user within the app's limit: beyond it the devices go that were not seen for longest.

    Never this device: it posts. Called in the transaction that attached it to the user.
    """
    most = app.max_devices_per_user
    if not most or device.user_id is None:
        return
    others = Device.objects.filter(user=device.user_id, retired_at__isnull=True).exclude(pk=device.pk)
    surplus = list(others.order_by("-last_seen", "-pk").values_list("pk", flat=True)[most - 1 :])
    if surplus:
        # The user is said again: one of them may have changed hands since it was read.
        retire(Q(pk__in=surplus, user=device.user_id), RetiredReason.TOO_MANY)


def retire_stale() -> int:
    """Retire Android devices that were not seen for as long as their app says, a batch of each app; return how many."""
    apps = MobileApp.objects.defer(*secret_columns()).filter(android_stale_days__gt=0)
    return sum(in_transaction(partial(_retire_stale, app, timezone.now())) for app in apps)


def _retire_stale(app: MobileApp, now: datetime) -> int:
    # Last-seen is written now and then only: the device may have been seen that much later.
    unseen_since = now - timedelta(days=app.android_stale_days) - settings.TOKENHUB_LAST_SEEN_INTERVAL
    stale = Device.objects.filter(
        app=app, platform=Platform.ANDROID, retired_at__isnull=True, last_seen__lt=unseen_since
    ).order_by("last_seen")
    # Locked by somebody else: about to be seen, or planned. The next batch looks again.
    locked = stale.select_for_update(skip_locked=True, no_key=True)
    retired = retire(Q(pk__in=list(locked.values_list("pk", flat=True)[:BATCH])), RetiredReason.STALE)
    if retired:
        announce(["plan"])
    return retired

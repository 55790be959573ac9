"""The kinds of fields that the endpoints take."""

import re
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.services.normalise import MAX_USER_ID, UNREADABLE, is_user_id

INSTALLATION_ID = r"[A-Za-z0-9._:\-]{1,128}"
FORBIDDEN = re.compile("[\\x00-\\x1f\\ud800-\\udfff]")
GUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

# Walks the time zone folders: once a process, not once a launch.
time_zones = cache(available_timezones)


class TextField(serializers.CharField):
    """Text only: a number or a boolean is a mistake of the caller's, not text. No control characters."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if FORBIDDEN.search(data):
            raise serializers.ValidationError("Control characters and lone surrogates are not allowed.")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "user-id"})
class UserIdField(TextField):
    """Your own id of a user, as `is_user_id` has it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_USER_ID, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if is_user_id(text):
            return text
        if UNREADABLE in text:
            raise serializers.ValidationError("holds U+FFFD, which stands for what is no UTF-8.")
        for character in text:
            if not character.isprintable():
                raise serializers.ValidationError(
                    f"holds U+{ord(character):04X}: control, direction and zero-width characters are not allowed."
                )
        return text


@extend_schema_field({"type": "string", "format": "time-zone"})
class TimeZoneField(TextField):
    """The IANA name of a time zone, or nothing."""

    default_error_messages = {"unknown": "is not an IANA time zone, e.g. Europe/Berlin."}

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if name and name not in time_zones():
            self.fail("unknown")
        return name


@extend_schema_field({"type": "string", "format": "date-time"})
class MomentField(TextField):
    """A time that lies behind us. Phones' clocks are wrong: what is yet to come is now."""

    default_error_messages = {"form": "is not a time with its offset, e.g. 2026-11-24T08:30:00+01:00."}

    def to_internal_value(self, data: Any) -> datetime:  # type: ignore[override]
        text = super().to_internal_value(data)
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("form")
        try:
            return min(moment.astimezone(UTC), timezone.now())
        except OverflowError:  # within a day of the first or the last year that there is
            return datetime.min.replace(tzinfo=UTC) if moment.year == 1 else timezone.now()


@extend_schema_field({"type": "string", "format": "email-address"})
class EmailAddressField(TextField):
    """What `email_address` takes, or nothing."""


@extend_schema_field({"type": "string", "format": "phone-number"})
class PhoneNumberField(TextField):
    """What `phone_number` takes, or nothing."""


class StrictBooleanField(serializers.BooleanField):
    """true or false, not the words that could mean them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


@extend_schema_field({"type": "string", "pattern": f"^{INSTALLATION_ID}$"})
class InstallationIdField(TextField):
    """Made once by the app, and kept."""

    default_error_messages = {"form": "Must be 1 to 128 letters, digits and . _ : - characters."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not re.fullmatch(INSTALLATION_ID, text):
            self.fail("form")
        return text


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
class SequenceField(serializers.IntegerField):
    """A whole number that the phone only ever raises."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=2**63 - 1, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        # To JSON 7.0 is a whole number too.
        whole = isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        if not whole or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(int(data))


@extend_schema_field({"type": ["string", "null"], "pattern": f"^({GUID})?$"})
class TrackingIdField(serializers.Field[uuid.UUID | None, Any, Any, Any]):
    """A GUID; empty or all zeros (a test send has no tracking id) become None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> uuid.UUID | None:
        if data == "":
            return None
        try:
            guid = uuid.UUID(data if isinstance(data, str) else "not text")
        except ValueError:
            raise serializers.ValidationError("is not a GUID.") from None
        return guid if guid.int else None

import uuid

from django.urls import path, register_converter

from registry.api import imports, insight, users, views
from registry.api.fields import INSTALLATION_ID


class InstallationIdConverter:
    """What can be no installation id is not found, before the database is asked."""

    regex = INSTALLATION_ID

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class UserIdConverter(InstallationIdConverter):
    """Any text; slashes too, since a server may decode %2F before we see it."""

    regex = ".+"


register_converter(InstallationIdConverter, "installation_id")


class GuidConverter:
    """A GUID, in either case."""

    regex = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

    def to_python(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)

    def to_url(self, value: uuid.UUID) -> str:
        return str(value)


register_converter(UserIdConverter, "user_id")
register_converter(GuidConverter, "guid")

urlpatterns = [
    path("devices", views.DevicesView.as_view()),
    path("devices/import", imports.ImportView.as_view()),
    path("devices/<installation_id:installation_id>", views.DeviceView.as_view()),
    path("devices/<installation_id:installation_id>/sign-out", views.SignOutView.as_view()),
    path("users/<user_id:user_id>", users.UserView.as_view()),
    path("erasures/<uuid:erasure_id>", users.ErasureView.as_view()),
    path("events", views.EventsView.as_view()),
    path("insight/days", insight.DaysView.as_view()),
    path("insight/days.csv", insight.DaysFileView.as_view()),
    path("insight/messages", insight.MessagesView.as_view()),
    path("insight/messages.csv", insight.MessagesFileView.as_view()),
]

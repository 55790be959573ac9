from django.urls import path, register_converter

from registry.api import views
from registry.api.serializers import INSTALLATION_ID


class InstallationIdConverter:
    """What can be no installation id is not found, before the database is asked."""

    regex = INSTALLATION_ID

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(InstallationIdConverter, "installation_id")

urlpatterns = [
    path("devices", views.DevicesView.as_view()),
    path("devices/<installation_id:installation_id>", views.DeviceView.as_view()),
    path("devices/<installation_id:installation_id>/sign-out", views.SignOutView.as_view()),
    path("events", views.EventsView.as_view()),
]

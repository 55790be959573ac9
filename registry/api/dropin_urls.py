from django.urls import URLPattern, path

from registry.api import dropin


def _both(route: str, view: type[dropin.DropInView]) -> list[URLPattern]:
    """Microsoft's pages show some with a slash at the end and some without. The document has the one that they show."""
    other = route.removesuffix("/") if route.endswith("/") else f"{route}/"
    return [path(route, view.as_view()), path(other, view.as_view(schema=None))]


urlpatterns = [
    *_both("pushdeviceregistration/devices", dropin.RegistrationView),
    *_both("pushdeviceregistration/devices/batch", dropin.RegistrationBatchView),
    *_both("pushdeviceregistration/devices/status/", dropin.StatusView),
    *_both("pushdeviceregistration/devices/cleanup", dropin.CleanupView),
    *_both("pushdeviceregistration/devices/cleanup/batch", dropin.CleanupBatchView),
    *_both("pushdatareceiver/events", dropin.EventView),
]

from django.urls import re_path

from registry.api import dropin

# Microsoft's pages show some with a slash at the end and some without.
urlpatterns = [
    re_path(r"^pushdeviceregistration/devices/?$", dropin.RegistrationView.as_view()),
    re_path(r"^pushdeviceregistration/devices/batch/?$", dropin.RegistrationBatchView.as_view()),
    re_path(r"^pushdeviceregistration/devices/status/?$", dropin.StatusView.as_view()),
    re_path(r"^pushdeviceregistration/devices/cleanup/?$", dropin.CleanupView.as_view()),
    re_path(r"^pushdeviceregistration/devices/cleanup/batch/?$", dropin.CleanupBatchView.as_view()),
    re_path(r"^pushdatareceiver/events/?$", dropin.EventView.as_view()),
]

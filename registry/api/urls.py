from django.urls import path

from registry.api import views

urlpatterns = [
    path("devices", views.DevicesView.as_view()),
    path("devices/<str:installation_id>", views.DeviceView.as_view()),
    path("devices/<str:installation_id>/sign-out", views.SignOutView.as_view()),
    path("events", views.EventsView.as_view()),
]

"""Where those pages are, below /admin/."""

from django.contrib import admin
from django.urls import path

from sync.pages.app import app_page
from sync.pages.connect_app import connect_app
from sync.pages.unresolved import unresolved

urlpatterns = [
    path("apps/connect/", admin.site.admin_view(connect_app), name="connect_app"),
    path("apps/of/<slug:slug>/", admin.site.admin_view(app_page), name="app"),
    path("unresolved/", admin.site.admin_view(unresolved), name="unresolved"),
]

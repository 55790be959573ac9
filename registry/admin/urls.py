"""The console's own pages, beside those of the tables."""

from django.contrib import admin
from django.urls import path

from registry.admin.bulk import import_page
from registry.admin.explain import explain
from registry.admin.insight import insight

urlpatterns = [
    path("explain/", admin.site.admin_view(explain), name="explain"),
    path("import/", admin.site.admin_view(import_page), name="import_devices"),
    path("opens/", admin.site.admin_view(insight), name="opens"),
]

"""Where those pages are, below /admin/."""

from django.contrib import admin
from django.urls import path

from sync.pages.unresolved import unresolved

urlpatterns = [
    path("unresolved/", admin.site.admin_view(unresolved), name="unresolved"),
]

from django.contrib import admin
from django.urls import include, path

from tokenhub import health

urlpatterns = [
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("api/v1/", include("registry.api.urls")),
    path("admin/", admin.site.urls),
]

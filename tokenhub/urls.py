from django.contrib import admin
from django.urls import include, path

import registry.api.docs
import sync.views
from tokenhub import health, metrics

urlpatterns = [
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
    path("api/openapi.yaml", registry.api.docs.openapi, name="openapi"),
    path("api/docs", registry.api.docs.docs),
    path("api/v1/", include("registry.api.urls")),
    path("api/v1.0/orgs/<guid:org_id>/", include("registry.api.dropin_urls")),
    path("cij/callbacks/<uuid:batch_id>", sync.views.callback),
    path("admin/", admin.site.urls),
]

handler400 = "tokenhub.errors.bad_request"
handler404 = "tokenhub.errors.not_found"
handler500 = "tokenhub.errors.server_error"

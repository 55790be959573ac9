from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

import registry.api.docs
import sync.views
import tokenhub.console

# The two faces, one for everybody and one for administrators (TOKENHUB_ROLE); tokenhub.inside answers probes for both.
API: list[URLPattern | URLResolver] = [
    path("api/v1/", include("registry.api.urls")),
    path("api/v1.0/orgs/<guid:org_id>/", include("registry.api.dropin_urls")),
    path("cij/callbacks/<uuid:batch_id>", sync.views.callback),
]
ADMIN: list[URLPattern | URLResolver] = [
    path("favicon.ico", tokenhub.console.favicon),
    path("api/docs", registry.api.docs.docs),
    path("admin/", include("registry.admin.urls")),
    path("admin/", include("sync.pages.urls")),
    path("admin/", include("tokenhub.signin.urls")),  # before the admin's own page for signing in
    path("admin/", admin.site.urls),
]

urlpatterns = [
    path("api/openapi.yaml", registry.api.docs.openapi, name="openapi"),
    *(API if settings.SERVES_API else []),
    *(ADMIN if settings.SERVES_ADMIN else []),
]

handler400 = "tokenhub.errors.bad_request"
handler403 = "tokenhub.errors.forbidden"
handler404 = "tokenhub.errors.not_found"
handler500 = "tokenhub.errors.server_error"

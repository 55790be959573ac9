"""The tables in Django's admin. What workers write is shown, not edited."""

from django.contrib import admin

from registry.admin import accounts, apps, audit, bulk, dataverse, devices, erasures, issuers, keys, registrations

__all__ = ["accounts", "apps", "audit", "bulk", "dataverse", "devices", "erasures", "issuers", "keys", "registrations"]

admin.site.index_title = "Overview"

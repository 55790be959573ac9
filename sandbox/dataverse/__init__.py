"""Dataverse's Web API, as far as looking up contacts, leads and profiles goes.

Sources: powerapps-docs, developer/data-platform/webapi.
"""

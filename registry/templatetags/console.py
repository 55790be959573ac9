"""What the console's own pages share."""

import uuid
from datetime import datetime
from typing import Any

from django import template
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

from registry.models import DataverseEnvironment
from registry.models.devices import TOKEN_END
from registry.services.dynamics import record_url

register = template.Library()

NOTHING = "\N{EN DASH}"


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time as people read it, "5 minutes ago"; its exact value in UTC shows on hovering."""
    if at is None:
        return NOTHING
    now = timezone.now()
    words = f"{timesince(at, now, depth=1)} ago" if at <= now else f"in {timeuntil(at, now, depth=1)}"
    if abs((now - at).total_seconds()) < 60:
        words = "just now" if at <= now else "in a moment"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", words)


@register.filter
def token_end(row: Any) -> str:
    """The end of a row's token: enough to recognise it, not to use it."""
    return f"…{row.token[-TOKEN_END:]}" if row.token else NOTHING


@register.simple_tag
def dynamics_url(environment: DataverseEnvironment, table: str, record: uuid.UUID | None) -> str:
    """The record's page in Dynamics, or "" where there is none to tell."""
    return record_url(environment, table, record) if record else ""


@register.simple_tag(takes_context=True)
def parent_list(context: template.Context) -> dict[str, str] | None:
    """The list that a page about a table's rows is below; None for the list itself, and for pages of no table."""
    opts = context.get("opts")
    page: Any = opts and admin.site._registry.get(opts.model)  # noqa: SLF001 it has no public name
    if not page or context.get("cl"):
        return None
    url = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")
    return {"title": page.called(), "url": url}


@register.filter
def rate(share: float | None) -> str:
    """A share in per cent."""
    return NOTHING if share is None else f"{100 * share:.1f} %"

"""What the admin's first page shows above the tables."""

from django import template

from sync.alerts import Alert, open_alerts

register = template.Library()


@register.simple_tag(name="open_alerts")
def alerts_now() -> list[Alert]:
    """Everything that needs a person now."""
    return open_alerts()

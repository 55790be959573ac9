"""What the admin's first page shows above the tables."""

from django import template

from sync.alerts import Alert, open_alerts

register = template.Library()


@register.simple_tag(name="open_alerts")
def alerts_now() -> list[Alert]:
    """Everything that needs a person now."""
    return open_alerts()


@register.filter
def chart_keys(text: str) -> list[tuple[str, str]]:
    """A chart's legend from `tone:Name_of_it tone:Other`."""
    pairs = (each.partition(":") for each in text.split())
    return [(tone, name.replace("_", " ")) for tone, _, name in pairs]

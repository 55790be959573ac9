"""What the charts of the admin's first page are drawn with."""

from django import template

register = template.Library()


@register.filter
def chart_keys(text: str) -> list[tuple[str, str]]:
    """A chart's legend from `tone:Name_of_it tone:Other`."""
    pairs = (each.partition(":") for each in text.split())
    return [(tone, name.replace("_", " ")) for tone, _, name in pairs]

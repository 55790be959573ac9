"""Forms as a browser sends them back."""

from typing import Any

from django.forms import BaseForm, MultiWidget


def as_posted(form: BaseForm) -> dict[str, Any]:
    """The fields of a form that was shown, by the names under which they are posted."""
    posted: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = form[name].value()
        if isinstance(field.widget, MultiWidget):
            posted |= {f"{name}_{place}": part for place, part in enumerate(field.widget.decompress(value) or ())}
        elif value not in (None, False):
            posted[name] = value
    return posted

"""A form field for some of a few values in an order: a select for each place."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget


class _Places(forms.MultiWidget):
    def decompress(self, value: Any) -> list[Any]:
        return list(value or [])


class OrderedChoices(forms.MultiValueField):
    """Gives the list of what was chosen, first place first. A place that is left empty is passed over."""

    def __init__(self, choices: Sequence[tuple[str, Any]], **more: Any) -> None:
        places = [[("", "nothing more"), *choices] if place else list(choices) for place in range(len(choices))]
        fields = [forms.ChoiceField(choices=each, required=False) for each in places]
        names = [{"aria-label": f"{more.get('label', '')}, place {number}"} for number in range(1, len(choices) + 1)]
        widget = _Places([UnfoldAdminSelectWidget(*each) for each in zip(names, places, strict=True)])
        super().__init__(fields, require_all_fields=False, widget=widget, **more)

    def compress(self, data_list: Sequence[str]) -> list[str]:
        chosen = [value for value in data_list if value]
        if len(set(chosen)) < len(chosen):
            raise ValidationError("Each of them once.")
        return chosen

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != [value for value in data or [] if value]

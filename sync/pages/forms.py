"""The forms of an app's pages."""

from typing import Any

from django import forms

from registry.models import DataverseEnvironment
from registry.services.keys import MAX_NAME
from registry.states import DataverseTable, Identity, MatchKey, Platform

_FIELD = {"class": "th-field th-wide-field", "autocomplete": "off"}


def _text(**more: Any) -> forms.TextInput:
    return forms.TextInput(attrs=_FIELD | more)


class ConnectForm(forms.Form):
    """What makes an app. Whether the values are good is for the service to say."""

    paste = forms.CharField(
        required=False,
        label="Developer information",
        help_text="Open the app in Customer Insights - Journeys, tab Developer information; copy it all and paste it.",
        widget=forms.Textarea(attrs=_FIELD | {"rows": 5, "spellcheck": "false"}),
    )
    name = forms.CharField(max_length=200, help_text="As people read it, e.g. Contoso Shop", widget=_text())
    slug = forms.SlugField(
        max_length=64, label="Short name", help_text="For commands and addresses, e.g. shop", widget=_text()
    )
    org_id = forms.CharField(max_length=64, label="Organisation id", widget=_text(placeholder="a GUID"))
    mobile_app_id = forms.CharField(max_length=64, label="Mobile app id", widget=_text(placeholder="a GUID"))
    endpoint = forms.CharField(
        max_length=200, label="Public endpoint", widget=_text(placeholder="public-eur.mkt.dynamics.com")
    )
    api_token = forms.CharField(
        max_length=4000,
        label="ApiToken",
        help_text="Kept encrypted, and not shown again once the app is made.",
        # Shown on as dots while the form goes to and fro: whoever sends it has just typed it in.
        widget=forms.PasswordInput(attrs=_FIELD | {"autocomplete": "new-password"}, render_value=True),
    )
    dataverse = forms.ModelChoiceField(
        DataverseEnvironment.objects.none(),
        label="Dataverse environment",
        empty_label=None,
        help_text="Where its users are contacts, leads or profiles.",
        widget=forms.Select(attrs=_FIELD),
    )
    match = forms.MultipleChoiceField(
        label="Look for users among",
        choices=[(table.value, str(table.label)) for table in DataverseTable],
        initial=DataverseTable.values,
        widget=forms.CheckboxSelectMultiple,
    )
    match_by = forms.MultipleChoiceField(
        label="By",
        choices=[(key.value, str(key.label)) for key in MatchKey],
        initial=MatchKey.values,
        widget=forms.CheckboxSelectMultiple,
    )
    identity = forms.ChoiceField(
        label="Who may say which user a phone belongs to",
        choices=Identity.choices,
        initial=Identity.JWT,
        widget=forms.Select(attrs=_FIELD),
    )
    anyway = forms.BooleanField(required=False, label="Make it although the connection was refused")

    def __init__(self, *args: Any, environments: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["dataverse"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 as it stands above
        field.queryset = environments.order_by("name")


class TokenForm(forms.Form):
    """Another ApiToken."""

    api_token = forms.CharField(
        max_length=4000,
        label="New ApiToken",
        widget=forms.PasswordInput(attrs=_FIELD | {"autocomplete": "new-password"}),
    )


class PauseForm(forms.Form):
    """Why an app is paused."""

    platform = forms.ChoiceField(
        required=False,
        label="What",
        choices=[
            ("", "the whole app: nothing is sent to CI-J"),
            *((p.value, f"new registrations on {p.label}") for p in Platform),
        ],
        widget=forms.Select(attrs=_FIELD),
    )
    note = forms.CharField(max_length=200, required=False, label="Why", widget=_text())


class KeyForm(forms.Form):
    """An API key to be made."""

    kind = forms.ChoiceField(
        label="For",
        choices=[("server", "your server: may name users"), ("mobile", "the mobile app itself")],
        widget=forms.Select(attrs=_FIELD),
    )
    name = forms.CharField(
        max_length=MAX_NAME, required=False, label="Name", help_text="e.g. Android 4.2", widget=_text()
    )


class JwtForm(forms.Form):
    """A user's token, to see what would be read from it."""

    token = forms.CharField(
        max_length=16_000, label="A user's token (JWT)", widget=forms.Textarea(attrs=_FIELD | {"rows": 5})
    )
    installation_id = forms.CharField(
        max_length=128,
        required=False,
        label="Installation id",
        help_text="Needed only where tokens are good for one installation.",
        widget=_text(),
    )


def draft(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of the form that `create_app` takes."""
    names = ("slug", "name", "org_id", "mobile_app_id", "endpoint", "api_token", "dataverse", "match", "match_by")
    return {name: data[name] for name in (*names, "identity")}

"""Who signs the tokens that name apps' users: made and changed as `manage.py set_token_issuer` does it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from registry import models
from registry.admin.base import ConsoleAdmin, put_on, secret_field
from registry.services.errors import InvalidInput
from registry.services.token_issuers import check, default_algorithms, set_token_issuer
from registry.services.user_tokens import ASYMMETRIC, SYMMETRIC

PROOFS = ("jwks_url", "public_keys", "secret")


class IssuerForm(forms.ModelForm[models.TokenIssuer]):
    """The shared secret is written, and never shown."""

    new_secret = secret_field("Shared secret", "Kept encrypted, and not shown again.")
    algorithms = forms.MultipleChoiceField(
        required=False,
        choices=[(name, name) for name in (*ASYMMETRIC, *SYMMETRIC)],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="None chosen: RS256 and ES256, or HS256 with a shared secret.",
    )

    class Meta:
        model = models.TokenIssuer
        fields = [
            *("app", "issuer", "audience", "jwks_url", "public_keys", "algorithms", "leeway"),
            *("user_claim", "email_claim", "phone_claim", "installation_claim", "trust_unmarked"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            self.initial["algorithms"] = []
        elif self.instance.secret and "new_secret" in self.fields:
            text = " Left empty, the stored one stays, unless there is a JWKS URL or public keys instead."
            self.fields["new_secret"].help_text += text

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if self.errors:
            return given
        others = given["jwks_url"] or given["public_keys"]
        kept = self.instance.secret if self.instance.pk and not others else ""
        given["secret"] = given["new_secret"] or kept
        names = ("issuer", "audience", "leeway", "user_claim", "email_claim", "phone_claim", "installation_claim")
        issuer = models.TokenIssuer(**{name: given[name] for name in (*names, *PROOFS)})
        issuer.algorithms = given["algorithms"] = given["algorithms"] or default_algorithms(issuer)
        try:
            check(issuer)
        except InvalidInput as error:
            put_on(self, error, secret="new_secret")  # noqa: S106 the name of a field
        return given


@admin.register(models.TokenIssuer)
class TokenIssuerAdmin(ConsoleAdmin):
    app_path = "app"
    form = IssuerForm
    empty_text = "An issuer signs who is signed in in an app: set it up on the app's page, or here."
    list_display = ("app", "issuer", "audience", "jwks_url", "keys_fetched_at", "keys_error")
    list_select_related = ("app",)
    fieldsets = (
        (None, {"fields": ("app", "issuer", "audience")}),
        (
            "How its tokens are proven",
            {
                "fields": ("jwks_url", "public_keys", "new_secret", "algorithms", "leeway"),
                "description": "By exactly one of a JWKS URL, public keys and a shared secret.",
            },
        ),
        (
            "What is read from them",
            {
                "fields": ("user_claim", "email_claim", "phone_claim", "installation_claim", "trust_unmarked"),
                "description": "An address is taken where the token says that it is verified.",
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        shown = [name for _, part in self.fieldsets for name in part["fields"] if name != "new_secret"]
        return ((None, {"fields": (*shown, "keys_fetched_at", "keys_error")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("app", "keys_fetched_at", "keys_error") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # the identity policy of the app says whether it counts

    def save_model(self, request: HttpRequest, obj: models.TokenIssuer, form: Any, change: bool) -> None:
        obj.secret = form.cleaned_data["secret"]
        if "jwks_url" in form.changed_data:
            # What another address showed proves nobody any more.
            obj.keys, obj.keys_fetched_at, obj.keys_error, obj.keys_failing_since = None, None, "", None
        set_token_issuer(obj.app, obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # says that it was made
        return redirect("app", obj.app.slug)

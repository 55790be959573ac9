"""Below /admin/: of django-allauth's pages those that are used. There is no sign-up and no reset by mail."""

from allauth.account import views as account
from allauth.socialaccount import views as social
from allauth.socialaccount.providers.openid_connect import views as oidc
from django.urls import URLPattern, URLResolver, include, path

from tokenhub.signin.views import SignIn

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", SignIn.as_view(), name="account_login"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("account/two-factor/", include("allauth.mfa.urls")),
    # Not found where Entra ID is not configured.
    path("account/sso/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/sso/error/", social.login_error, name="socialaccount_login_error"),
    path("account/sso/signup/", social.signup, name="socialaccount_signup"),
    path("account/sso/<slug:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("account/sso/<slug:provider_id>/callback/", oidc.callback, name="openid_connect_callback"),
]

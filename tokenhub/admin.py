"""Tables of django-allauth that nobody should work on by hand: they hold secrets, or follow Entra ID by themselves."""

from allauth.account.admin import EmailAddress
from allauth.mfa.admin import Authenticator
from allauth.socialaccount.admin import SocialAccount, SocialApp, SocialToken
from django.contrib import admin

# Imported from where they are registered, so that they are by now, whatever the order of the apps.
for model in (EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken):
    admin.site.unregister(model)

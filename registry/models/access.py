"""Which apps an account of the admin may see."""

from django.conf import settings
from django.db import models

from registry.models.apps import MobileApp


class AppScope(models.Model):
    """What an account sees of the apps: roles say what it may do, this says where. An account without one sees none."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="app_scope")
    every_app = models.BooleanField(default=False, help_text="All apps, also those that are made later")
    apps = models.ManyToManyField(
        MobileApp, blank=True, limit_choices_to={"replaced_by": None}, help_text="Where not all: these"
    )

    class Meta:
        verbose_name = "apps"
        verbose_name_plural = "apps"

    def __str__(self) -> str:
        return "every app" if self.every_app else "chosen apps"

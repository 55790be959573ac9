"""Who may use the admin, what they may do (roles), and where (apps)."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from registry.admin.base import ConsoleAdmin, StackedInline
from registry.models import AppScope
from registry.services.access import scope_of
from registry.services.audit import record
from registry.states import ROLES

admin.site.unregister(User)
admin.site.unregister(Group)

# What would make somebody more than an administrator is a superuser's to give.
ONLY_SUPERUSERS = ("is_superuser", "user_permissions")


class AppScopeInline(StackedInline[AppScope, User]):
    model = AppScope
    autocomplete_fields = ("apps",)
    can_delete = False

    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return scope_of(request.user).every and request.user.has_perm("auth.change_user")

    has_add_permission = has_change_permission = has_view_permission = _may


@admin.register(User)
class ConsoleUserAdmin(UserAdmin[User], ConsoleAdmin):
    """Accounts are switched off, not deleted: the audit log names them."""

    list_title = "Accounts"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = (AppScopeInline,)
    actions = ("forget_second_factor",)
    list_display = ("username", "email", "roles", "sees", "is_active", "is_superuser", "last_login")
    list_select_related = ("app_scope",)
    list_filter = ("is_active", "groups")
    search_fields = ("username", "email")
    autocomplete_fields = ("groups",)
    filter_horizontal = ("user_permissions",)
    fieldsets = (
        (None, {"fields": ("username", "password", ("first_name", "last_name"), "email")}),
        (
            "May do",
            {
                "fields": ("is_active", "is_staff", "groups", "is_superuser", "user_permissions"),
                "description": "Staff may sign in here. Roles say what somebody may do; the apps below, where.",
            },
        ),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups", "app_scope__apps")

    def get_inline_instances(self, request: HttpRequest, obj: User | None = None) -> list[Any]:
        return super().get_inline_instances(request, obj) if obj and not obj.is_superuser else []

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return ("last_login", "date_joined", *(() if request.user.is_superuser else ONLY_SUPERUSERS))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return scope_of(request.user).every and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return scope_of(request.user).every and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and scope_of(request.user).every and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    @admin.action(description="Forget the second factor", permissions=("change",))
    def forget_second_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """For who lost the phone and the recovery codes: the next sign-in, with the password, sets up a new one."""
        for user in users:
            if not self.has_change_permission(request, user):
                self.message_user(request, f"{user.username}: only a superuser may do that.", messages.ERROR)
            elif Authenticator.objects.filter(user=user).delete()[0]:
                record(user, "second factor forgotten")
                self.message_user(request, f"{user.username} sets up a new second factor at the next sign-in.")
            else:
                self.message_user(request, f"{user.username} has none.", messages.WARNING)

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "-"

    @admin.display(description="sees")
    def sees(self, user: User) -> str:
        if user.is_superuser:
            return "every app"
        row = getattr(user, "app_scope", None)
        if row is None:
            return "no app"
        return "every app" if row.every_app else ", ".join(app.slug for app in row.apps.all()) or "no app"


@admin.register(Group)
class ConsoleGroupAdmin(GroupAdmin, ConsoleAdmin):
    """Roles. Those of tokenhub are set by `migrate`, and not edited."""

    list_title = "Roles"

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return (obj is None or obj.name not in ROLES) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return (obj is None or obj.name not in ROLES) and super().has_delete_permission(request, obj)

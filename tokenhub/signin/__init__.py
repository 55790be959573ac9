"""How people sign in to the admin: with Microsoft Entra ID, or a password and a code, by django-allauth."""

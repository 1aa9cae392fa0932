"""For the page of the login."""

from __future__ import annotations

from django import template
from django.conf import settings
from django.urls import reverse

register = template.Library()


@register.simple_tag
def sign_on_url() -> str:
    """The address of single sign-on; empty if it is not set up."""
    return reverse("console:sign-on") if settings.CONFIG.admin.oidc_issuer else ""

"""Single sign-on by OpenID Connect, if ADMIN_OIDC_ISSUER is set. mozilla-django-oidc does the protocol."""

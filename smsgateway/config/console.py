"""The settings of the console: its address, logins, sessions, single sign-on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from smsgateway.config.setting_field import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Admin:
    title: ClassVar[str] = "Admin"
    prefix: ClassVar[str] = "ADMIN_"

    origins: list[str] = setting(
        "Public URLs of the admin behind a TLS-terminating proxy, comma separated: https://admin.example.com.",
        default=[],
        pattern=r"https?://[^\s/]+",
    )
    processes: list[str] = setting(
        "Metrics pages of the workers that the start page shows, as NAME=URL: deliver=http://10.0.0.7:9103/metrics. "
        "A host name with several addresses stands for one process at each.",
        default=[],
        unit="NAME=URL, comma separated",
        pattern=r"[a-z_]+=http://[^\s]+",
    )
    trusted_proxies: int = setting(
        "Your own proxies in front of the admin that append to X-Forwarded-For; 0 uses the connection's address.",
        default=0,
        minimum=0,
        maximum=10,
    )
    second_factor: str = setting(
        "Who needs a second factor (TOTP) to log in: people with a role that requires it, and superusers once any role "
        "does; or everybody.",
        default="roles",
        choices=("roles", "everybody"),
    )
    session_idle: int = setting(
        "A login ends after this time without a request.", default=3600, unit="seconds", minimum=60, maximum=604_800
    )
    session_longest: int = setting(
        "A login ends this long after it began.", default=43_200, unit="seconds", minimum=60, maximum=2_592_000
    )
    login_failures: int = setting(
        "Failed logins with one name from one address after which further ones are refused.",
        default=5,
        minimum=1,
        maximum=1000,
    )
    login_lock: int = setting("How long they are refused.", default=900, unit="seconds", minimum=1, maximum=604_800)
    audit_kept_days: int = setting(
        "manage.py purge deletes acts of the audit log older than this; at least 90, or 0: they are kept permanently.",
        default=0,
        unit="days",
        minimum=0,
        maximum=36_500,
    )
    log_kept_days: int = setting(
        "manage.py purge deletes entries of Django's own admin log older than this.",
        default=400,
        unit="days",
        minimum=1,
        maximum=36_500,
    )
    oidc_issuer: str = setting(
        "Single sign-on by OpenID Connect: URL of the provider (issuer); empty: none.",
        default="",
        pattern=r"(https?://[^\s?#]+)?",
    )
    oidc_client_id: str = setting("The gateway's client id at the provider.", default="")
    oidc_client_secret: str = setting("Its client secret.", default="", secret=16)
    oidc_scopes: str = setting("Scopes that are requested.", default="openid profile email")
    oidc_roles_claim: str = setting(
        "Claim with a list of names; those that are names of roles become the user's roles at each login.",
        default="groups",
    )
    oidc_second_factor: str = setting(
        "After single sign-on a required second factor is asked for here; or the provider's login suffices.",
        default="here",
        choices=("here", "provider"),
    )
    oidc_ca_file: str = setting(
        "CA certificates for the provider (PEM file); empty uses the usual public ones.", default=""
    )


def complaints(admin: Admin) -> Iterator[str]:
    """Yield a sentence for each setting that is missing or contradicts another."""
    if admin.oidc_issuer and not (admin.oidc_client_id and admin.oidc_client_secret):
        yield "ADMIN_OIDC_ISSUER is set, but ADMIN_OIDC_CLIENT_ID or ADMIN_OIDC_CLIENT_SECRET is not."
    if admin.session_idle > admin.session_longest:
        yield "ADMIN_SESSION_IDLE is longer than ADMIN_SESSION_LONGEST."

"""The console's user of a person whom the provider has identified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction

from apps.console.audit import act_record
from apps.console.changes import value_changes
from apps.console.models import SignOn


class SignOnRefused(Exception):
    """The provider knows this person, but the console has no place for them"""


def user_sign_on(claims: Mapping[str, Any], *, issuer: str) -> User:
    """The user with this identity, with the roles that the claims name.

    A user is found by issuer and subject, which never change. A first login links the existing user with the same
    verified e-mail address; without one a user is created, if the claims name a role. Raises SignOnRefused.
    """
    subject = str(claims.get("sub") or "")
    if not subject:
        raise SignOnRefused("The provider sent no subject.")
    roles = _roles(claims)
    try:
        with transaction.atomic():
            known = SignOn.objects.select_related("user").filter(issuer=issuer, subject=subject).first()
            user = known.user if known else _first_login(claims, issuer=issuer, subject=subject, roles=roles)
            if not user.is_active:
                raise SignOnRefused(f"The user {user.get_username()} is not active.")
            if roles is not None:
                _set_roles(user, roles)
    except IntegrityError as error:  # two first logins at once, or a name that is taken
        raise SignOnRefused("Try again.") from error
    if not user.is_superuser and not user.groups.exists():
        raise SignOnRefused("You have no role in this console. Ask an administrator.")
    return user


def _roles(claims: Mapping[str, Any]) -> list[Group] | None:
    """The roles that the claims name; None if the provider sends no such claim, and roles are managed here."""
    named = claims.get(settings.CONFIG.admin.oidc_roles_claim)
    if named is None:
        return None
    names = [named] if isinstance(named, str) else [str(name) for name in named]
    return list(Group.objects.filter(name__in=names).order_by("name"))


def _first_login(claims: Mapping[str, Any], *, issuer: str, subject: str, roles: list[Group] | None) -> User:
    email = str(claims.get("email") or "")
    existing = list(User.objects.filter(email__iexact=email)[:2]) if email and claims.get("email_verified") else []
    if len(existing) > 1:
        raise SignOnRefused(f"Several users have the e-mail address {email}.")
    if existing:
        (user,) = existing
        if SignOn.objects.filter(user=user).exists():
            raise SignOnRefused(f"The user {user.get_username()} belongs to another identity.")
    else:
        if not roles:
            raise SignOnRefused("You have no role in this console. Ask an administrator.")
        name = str(claims.get("preferred_username") or email or subject)[:150]
        if User.objects.filter(username__iexact=name).exists():
            raise SignOnRefused(f"The name {name} belongs to another user; it needs your verified e-mail address.")
        user = User.objects.create_user(name, email=email)
        User.objects.filter(pk=user.pk).update(is_staff=True)
        user.refresh_from_db()
    SignOn.objects.create(user=user, issuer=issuer, subject=subject)
    act_record(
        act="user.change" if existing else "user.add",
        user_id=user.pk,
        user_name=user.get_username(),
        subject=user.get_username(),
        why="first single sign-on",
        changes=[("single sign-on", "", f"{subject} at {issuer}")],
    )
    return user


def _set_roles(user: User, roles: list[Group]) -> None:
    before = list(user.groups.order_by("name"))
    if before == roles:
        return
    user.groups.set(roles)
    act_record(
        act="user.change",
        user_id=user.pk,
        user_name=user.get_username(),
        subject=user.get_username(),
        why="roles of single sign-on",
        changes=value_changes("groups", before, roles, show=str),
    )

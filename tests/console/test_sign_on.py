"""Which user a person is whom the provider of single sign-on has identified."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from apps.console.models import Act, SignOn
from apps.console.sign_on.users import SignOnRefused, user_sign_on
from tests.support.console import Person

pytestmark = pytest.mark.django_db

ISSUER = "https://id.example.com"
MINA = {"sub": "u-17", "preferred_username": "mina", "email": "mina@shop.example", "email_verified": True}


@pytest.fixture(autouse=True)
def roles(person: Person) -> None:
    """`person` makes them."""


def sign_on(**claims: Any) -> User:
    return user_sign_on(MINA | claims, issuer=ISSUER)


def test_a_first_login_with_a_role_creates_a_user() -> None:
    user = sign_on(groups=["Support", "office-party"])
    assert (user.username, user.email, user.is_staff, user.is_superuser) == ("mina", "mina@shop.example", True, False)
    assert not user.has_usable_password()
    assert [group.name for group in user.groups.all()] == ["Support"]
    assert SignOn.objects.get().subject == "u-17"
    assert [act.act for act in Act.objects.order_by("id")] == ["user.add", "user.change"]


def test_the_roles_follow_the_provider_at_each_login() -> None:
    sign_on(groups=["Support"])
    user = sign_on(groups=["Finance"], preferred_username="somebody else", email="new@shop.example")
    assert (user.username, [group.name for group in user.groups.all()]) == ("mina", ["Finance"])
    assert sign_on().groups.get().name == "Finance", "without the claim the roles stay"
    with pytest.raises(SignOnRefused, match="no role"):
        sign_on(groups=[])


@pytest.mark.parametrize("claims", [{}, {"groups": []}, {"groups": ["office-party"]}, {"groups": "Sup"}])
def test_a_stranger_without_a_role_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(SignOnRefused, match="no role"):
        sign_on(**claims)
    assert not User.objects.filter(username="mina").exists()


def test_an_existing_user_is_linked_by_a_verified_address_only() -> None:
    existing = User.objects.create_user("mina.k", email="Mina@shop.example", is_staff=True)
    existing.groups.add(Group.objects.get(name="Finance"))
    for unverified in ({"email_verified": False}, {"email_verified": None}, {"email": ""}):
        with pytest.raises(SignOnRefused):
            sign_on(**unverified)
    assert sign_on().pk == existing.pk
    assert sign_on(email_verified=False).pk == existing.pk, "linked once, known by its subject"


def test_nobody_becomes_another_user_by_a_name_or_an_address() -> None:
    User.objects.create_superuser("mina", password="seven-horses-ran")
    with pytest.raises(SignOnRefused, match="belongs to another user"):
        sign_on(groups=["Support"], email="other@shop.example")
    linked = sign_on(sub="u-99", groups=["Support"], preferred_username="reza", email="reza@shop.example")
    with pytest.raises(SignOnRefused, match="belongs to another identity"):
        sign_on(sub="u-100", groups=["Support"], email="reza@shop.example")
    assert sign_on(sub="u-99").pk == linked.pk


def test_the_same_subject_at_another_provider_is_another_person() -> None:
    sign_on(groups=["Support"])
    with pytest.raises(SignOnRefused):
        user_sign_on(MINA | {"groups": ["Support"]}, issuer="https://other.example")


def test_a_user_who_is_not_active_stays_out() -> None:
    user = sign_on(groups=["Support"])
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(SignOnRefused, match="not active"):
        sign_on(groups=["Support"])


def test_two_users_with_one_address_are_not_guessed_between() -> None:
    for name in ("a", "b"):
        User.objects.create_user(name, email="mina@shop.example")
    with pytest.raises(SignOnRefused, match="Several users"):
        sign_on(groups=["Support"])


def test_a_login_without_subject_is_refused() -> None:
    with pytest.raises(SignOnRefused, match="no subject"):
        sign_on(sub="", groups=["Support"])

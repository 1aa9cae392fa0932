"""What an act changed, as the audit log stores it: each field's value before and after, as the console shows them.

For a list (permissions, prefixes), each item that was added or removed is a change of its own, from `no` to `yes` or
back. So opposite changes never look alike.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

from django import forms
from django.db import models
from django.db.models import QuerySet

from smsgateway import ids

Change = tuple[str, str, str]
"""A field, its value before and its value after; empty if there is no value."""
Show = Callable[[str, Any], str]
"""How a value of the named field is shown."""

_SECRET: Final = "password"  # noqa: S105  # a name


def form_changes(form: Any, *, show: Show, adding: bool, removing: bool = False, label: str = "") -> list[Change]:
    """What a valid form changes; all its values if it adds or removes its object. Never shows a password."""
    found: list[Change] = []
    names = list(form.fields) if adding or removing else [name for name in form.changed_data if name in form.fields]
    if any(name.startswith(_SECRET) for name in form.changed_data):
        found.append((f"{label}{_SECRET}", "", "set"))
    for name in names:
        field = form.fields[name]
        if (
            name.startswith(_SECRET)
            or name not in form.cleaned_data
            or isinstance(field, forms.models.InlineForeignKeyField)
        ):
            continue
        before = None if adding else _initial(field, form.initial.get(name, field.initial))
        after = None if removing else form.cleaned_data[name]
        title = field.label or name.replace("_", " ")
        found += value_changes(f"{label}{_inside(str(title))}", before, after, show=functools.partial(show, name))
    return found


def formset_changes(formset: Any, *, show: Show) -> list[Change]:
    """What a saved formset added, changed and removed. Each change is labelled with the form's first value."""
    found: list[Change] = []
    kind = str(formset.model._meta.verbose_name)
    for form in formset.forms:
        is_new = form in formset.extra_forms
        is_removed = form in formset.deleted_forms
        if (is_new and is_removed) or not (is_removed or form.has_changed()):
            continue
        first = next(iter(form.fields))
        name = form.cleaned_data.get(first) if is_new else form.initial.get(first)
        shown = [
            change
            for change in form_changes(form, show=show, adding=is_new, removing=is_removed)
            if change[0] != "delete"
        ]
        found += [(f"{kind} {name}: {field}", before, after) for field, before, after in shown]
    return found


def object_changes(obj: models.Model, *, show: Show, label: str = "") -> list[Change]:
    """All values of an object that is deleted."""
    found: list[Change] = []
    for field in (*obj._meta.concrete_fields, *obj._meta.many_to_many):
        if field.primary_key or field.name.startswith(_SECRET):
            continue
        value = getattr(obj, field.name)
        if field.many_to_many:
            value = list(value.all())
        title = f"{label}{_inside(str(field.verbose_name))}"
        found += value_changes(title, value, None, show=functools.partial(show, field.name))
    return found


def _inside(title: str) -> str:
    """A field's title as it stands inside a line; a currency or an abbreviation keeps its capitals."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def value_changes(field: str, before: Any, after: Any, *, show: Callable[[Any], str]) -> Iterator[Change]:
    """The change of one value, or those of a list's items."""
    if _is_list(before) or _is_list(after):
        old, new = (_items(value) for value in (before, after))
        yield from ((f"{field}: {item}", "yes", "no") for item in old if item not in new)
        yield from ((f"{field}: {item}", "no", "yes") for item in new if item not in old)
    elif (old_text := show(before)) != (new_text := show(after)):
        yield field, old_text, new_text


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, UUID):
        return ids.to_text(value)
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(value)


def _initial(field: Any, value: Any) -> Any:
    """The initial value; for a choice of which the form knows only the key, its object."""
    if not isinstance(field, forms.ModelChoiceField) or isinstance(field, forms.ModelMultipleChoiceField):
        return value
    try:
        return field.to_python(value)
    except forms.ValidationError:  # deleted, or never there
        return value


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, QuerySet))


def _items(value: Any) -> dict[str, None]:
    """The items as text, in order and without duplicates."""
    return dict.fromkeys(shown(item) for item in (value if _is_list(value) else filter(None, [value])))

"""Old and new versions read each other's events: `event_versions` has the structs of earlier versions as they were.

A release adds a copy of its `apps/sms/events.py` there.
"""

from __future__ import annotations

import typing
from types import ModuleType

import msgspec
import pytest

from apps.sms import events
from tests.operations.event_versions import first, routing
from tests.operations.event_versions.made import made

VERSIONS = [first, routing]
IDS = [version.__name__.rpartition(".")[2] for version in VERSIONS]


def decoder(module: ModuleType) -> msgspec.json.Decoder[typing.Any]:
    """Reads any event, as the decoders of the module read those of their topics."""
    return msgspec.json.Decoder(module.AnyEvent)


@pytest.mark.parametrize("old", VERSIONS, ids=IDS)
def test_todays_code_reads_what_an_earlier_version_wrote(old: ModuleType) -> None:
    for kind, event in made(old).items():
        read = decoder(events).decode(old.encode(event))
        assert msgspec.inspect.type_info(type(read)).tag == kind
        for field in msgspec.structs.fields(event):
            value = getattr(event, field.name)
            if not isinstance(value, tuple):
                assert getattr(read, field.name) == value, f"{kind}.{field.name}"


@pytest.mark.parametrize("old", VERSIONS, ids=IDS)
def test_an_earlier_version_reads_what_todays_code_writes(old: ModuleType) -> None:
    known = made(old).keys()
    for kind, event in made(events).items():
        if kind not in known:
            continue  # on a topic that the earlier version does not read
        read = decoder(old).decode(events.encode(event))
        for field in msgspec.structs.fields(read):
            value = getattr(read, field.name)
            if not isinstance(value, tuple):
                assert value == getattr(event, field.name), f"{kind}.{field.name}"


@pytest.mark.parametrize("old", VERSIONS, ids=IDS)
def test_todays_code_writes_no_new_type_to_a_topic_that_an_earlier_version_reads(old: ModuleType) -> None:
    """An unknown type would go to the dead letters there."""
    for name in ("StatusTopicEvent",):
        today = {msgspec.inspect.type_info(struct).tag for struct in typing.get_args(getattr(events, name))}
        then = {msgspec.inspect.type_info(struct).tag for struct in typing.get_args(getattr(old, name))}
        assert today <= then, f"{name}: first release a version that reads it, then one that writes it"


def test_an_event_that_lost_a_field_would_be_found() -> None:
    document = msgspec.json.decode(events.encode(made(events)["accepted"]))
    del document["operator"]
    with pytest.raises(msgspec.ValidationError, match="operator"):
        decoder(first).decode(msgspec.json.encode(document))

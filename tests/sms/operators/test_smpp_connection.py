"""The connection to an operator over SMPP: bound again after every kind of end, its credentials, TLS."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from apps.sms.operators.smpp import pdu, statuses
from apps.sms.operators.smpp.bind_errors import Rebinding
from apps.sms.operators.smpp.client import Smpp
from apps.sms.operators.smpp.pdu import Pdu
from tests.support.operators import AT_ONCE, message
from tests.support.smpp import (
    NAME,
    SETTINGS,
    ScriptedSmsc,
    Sink,
    accepted,
    bound,
    connected,
    count,
    hold,
    outcome,
    simulated,
)

_QUERY_SM = 0x03
SLOW = msgspec.structs.replace(AT_ONCE, answer_delay=(3_600_000, 3_600_000))


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_lost_connection_fails_what_is_in_flight_and_is_bound_anew() -> None:
    async def scenario() -> None:
        sink, sent = Sink(), message("+989125550011")
        before = count("smpp_binds_total", outcome="bound")
        async with simulated() as smsc, bound(smsc.settings, sink) as client:
            assert await outcome(client, sent) == "TransientSubmitError connection_lost"
            await accepted(client, sent)
            await hold(lambda: len(sink.receipts) == 2)  # it had been taken the first time, too
            assert count("smpp_binds_total", outcome="bound") == before + 2

    run(scenario())


@pytest.mark.parametrize(("version", "octet"), [("3.3", 0x33), ("3.4", 0x34), ("5.0", 0x50)])
def test_the_bind_names_the_version_of_the_settings(version: str, octet: int) -> None:
    raw = pdu.bind_transceiver(1, system_id="a", password="b", system_type="", version=version)
    assert raw[pdu.HEADER_LENGTH :] == b"a\0b\0\0" + bytes((octet, 0, 0)) + b"\0"


@pytest.mark.parametrize("how", ["unbind", "drop"])
def test_no_submit_is_forgotten_when_the_operator_ends_the_connection(how: str) -> None:
    async def scenario() -> None:
        async with simulated(SLOW, in_flight=3) as smsc, bound(smsc.settings) as client:
            # Three wait for an answer, seven for a place in the window.
            submits = [asyncio.create_task(outcome(client, message())) for _ in range(10)]
            await hold(lambda: smsc.summary()["submits"] == 3)
            smsc.behaviour = AT_ONCE
            smsc.misbehave(how)
            assert set(await asyncio.gather(*submits)) == {"TransientSubmitError connection_lost"}
            await accepted(client, message())

    run(scenario())


@pytest.mark.breaks("SmppUnbound")
def test_a_silent_operator_is_left_and_bound_anew_when_it_speaks() -> None:
    async def scenario() -> None:
        before = count("smpp_enquire_link_failures_total")
        async with simulated(enquire_link=0.05, timeout=0.5) as smsc, bound(smsc.settings) as client:
            smsc.misbehave("silence")
            await connected(client, False)
            assert count("smpp_enquire_link_failures_total") > before
            await hold(lambda: count("smpp_bound") == 0)
            smsc.misbehave("speak")
            await connected(client)
            await accepted(client, message())

    run(scenario())


@pytest.mark.breaks("SmppCredentialsRefused")
def test_wrong_credentials_are_not_tried_again_at_once() -> None:
    async def scenario() -> None:
        before = count("smpp_binds_total", outcome="credentials")
        smsc = ScriptedSmsc(lambda received: refusal(received, statuses.INVALID_PASSWORD))
        async with smsc.listening(rebind_base=0.001, rebind_cap=0.001, credential_delay=3600.0) as settings:
            client = Smpp(NAME, settings)
            await client.start(Sink())
            await hold(lambda: count("smpp_binds_total", outcome="credentials") == before + 1)
            # Another operator's connection lost and bound 20 times meanwhile shows that time went by.
            async with (
                ScriptedSmsc().listening(rebind_base=0.001, rebind_cap=0.001) as other,
                bound(other) as neighbour,
            ):
                for _ in range(20):
                    assert neighbour._session is not None
                    neighbour._session.end("test")
                    await connected(neighbour, False)
                    await connected(neighbour)
            assert len(smsc.of(pdu.BIND_TRANSCEIVER)) == 1
            assert await outcome(client, message()) == "TransientSubmitError unreachable"
            await client.close()

    run(scenario())


def refusal(received: Pdu, status: int) -> bytes | None:
    return pdu.response(received, status, "") if received.command == pdu.BIND_TRANSCEIVER else None


def test_wrong_credentials_are_tried_until_they_are_right() -> None:
    async def scenario() -> None:
        before = count("smpp_binds_total", outcome="credentials")
        async with simulated() as smsc:
            client = Smpp(NAME, dataclasses.replace(smsc.settings, password="stolen", credential_delay=0.02))
            await client.start(Sink())
            await hold(lambda: count("smpp_binds_total", outcome="credentials") >= before + 2)
            assert not client.is_connected
            assert await outcome(client, message()) == "TransientSubmitError unreachable"
            await client.close()

    run(scenario())


@pytest.mark.parametrize(
    ("status", "changes", "outcome_of_bind", "delays"),
    [
        (0x0E, {}, "credentials", [300.0, 300.0, 300.0]),
        (0x0F, {"credential_delay": 60.0}, "credentials", [60.0, 60.0, 60.0]),
        (0x53, {}, "credentials", [300.0, 300.0, 300.0]),
        (0x05, {}, "too_many", [10.0, 20.0, 40.0]),
        (0x411, {"bind_limit_statuses": ["0x411"]}, "too_many", [10.0, 20.0, 40.0]),
        (0x0D, {}, "refused", [0.02, 0.04, 0.08]),
        (0x0D, {"credential_statuses": ["0x0D"]}, "credentials", [300.0, 300.0, 300.0]),
        (0x08, {}, "refused", [0.02, 0.04, 0.08]),
    ],
)
def test_each_refusal_of_a_bind_has_its_delay(
    status: int, changes: dict[str, Any], outcome_of_bind: str, delays: list[float]
) -> None:
    rebinding = Rebinding(dataclasses.replace(SETTINGS, **changes))
    found = rebinding.outcome(status)
    assert found == outcome_of_bind
    assert [rebinding.delay(found)[1] for _ in delays] == delays


def test_too_many_connections_are_tried_at_longer_and_longer_intervals_up_to_a_limit() -> None:
    rebinding = Rebinding(SETTINGS)
    assert [rebinding.delay("too_many")[1] for _ in range(8)][-1] == 100.0
    rebinding.lasted()
    assert rebinding.delay("unreachable")[1] == SETTINGS.rebind_base


def test_an_operator_that_comes_up_later_is_bound_then() -> None:
    async def scenario() -> None:
        before = count("smpp_binds_total", outcome="unreachable")
        async with ScriptedSmsc().listening() as settings:
            pass  # its port is free again
        client = Smpp(NAME, settings)
        await client.start(Sink())
        await hold(lambda: count("smpp_binds_total", outcome="unreachable") >= before + 1)
        server = await asyncio.start_server(ScriptedSmsc()._serve, "127.0.0.1", settings.port)
        await connected(client)
        await client.close()
        server.close()
        await server.wait_closed()

    run(scenario())


def test_the_bind_carries_what_is_set_and_the_end_is_polite() -> None:
    async def scenario() -> None:
        smsc = ScriptedSmsc()
        async with smsc.listening(system_type="VMA") as settings, bound(settings):
            pass
        (bind,) = smsc.of(pdu.BIND_TRANSCEIVER)
        assert bind.raw[pdu.HEADER_LENGTH :] == b"gateway\0secret\0VMA\0\x34\0\0\0"
        assert [received.command for received in smsc.pdus] == [pdu.BIND_TRANSCEIVER, pdu.UNBIND]

    run(scenario())


def test_a_stream_that_is_no_smpp_is_left() -> None:
    async def scenario() -> None:
        smsc = ScriptedSmsc()
        async with smsc.listening() as settings, bound(settings) as client:
            smsc.writers[0].write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await hold(lambda: len(smsc.of(pdu.BIND_TRANSCEIVER)) == 2)
            await connected(client)

    run(scenario())


def test_a_command_that_is_not_known_is_refused_and_signs_of_life_are_given() -> None:
    async def scenario() -> None:
        smsc = ScriptedSmsc()
        async with smsc.listening() as settings, bound(settings):
            smsc.writers[0].write(pdu.pack(_QUERY_SM, 77) + pdu.pack(pdu.ENQUIRE_LINK, 78))
            await hold(lambda: len(smsc.pdus) == 3)
        _, nack, life, _ = smsc.pdus
        assert (nack.command, nack.status, nack.sequence) == (pdu.GENERIC_NACK, statuses.INVALID_COMMAND, 77)
        assert (life.command, life.status, life.sequence) == (pdu.ENQUIRE_LINK | pdu.RESPONSE, 0, 78)

    run(scenario())


def test_tls_with_the_operators_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    def answer(received: Pdu) -> bytes | None:
        return pdu.response(received, 0, "1") if received.command == pdu.SUBMIT_SM else None

    async def scenario() -> None:
        smsc, before = ScriptedSmsc(answer), count("smpp_binds_total", outcome="unreachable")
        async with smsc.listening(context=tls) as settings:
            trusted = dataclasses.replace(settings, tls="on", tls_ca_file=str(certificate))
            async with bound(trusted) as client:
                assert (await client.submit(message())).operator_message_id == "1"
            stranger = Smpp(NAME, dataclasses.replace(settings, tls="on"))
            await stranger.start(Sink())
            await hold(lambda: count("smpp_binds_total", outcome="unreachable") > before)
            assert not stranger.is_connected
            await stranger.close()

    run(scenario())

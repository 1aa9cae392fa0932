"""Certificate authorities and server certificates, made when a test needs them: right, and wrong in each way."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ssl
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

NAME: Final = "localhost"
"""The host name that the right certificates are for."""
OTHER_NAME: Final = "elsewhere.example"
_LONG_AGO: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A server's certificate with its chain, and its private key: PEM files."""

    chain: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """What a server needs to show it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


@dataclasses.dataclass(frozen=True)
class Certificates:
    """An authority that clients trust (`ca`), one that they do not (`other_ca`), and certificates of the first."""

    ca: Path
    other_ca: Path
    right: Certificate
    wrong_name: Certificate
    expired: Certificate
    client: Certificate


def make_certificates(folder: Path) -> Certificates:
    """Make all of them in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, other = trustme.CA(), trustme.CA()
    for name, made in (("ca", authority), ("other_ca", other)):
        made.cert_pem.write_to_path(folder / f"{name}.pem")

    def issue(name: str, host: str, **more: dt.datetime) -> Certificate:
        issued = authority.issue_cert(host, common_name=host, **more)
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        for part in issued.cert_chain_pems:
            part.write_to_path(chain, append=True)
        key.write_bytes(_pkcs8(issued.private_key_pem.bytes()))
        key.chmod(0o600)
        return Certificate(chain, key)

    return Certificates(
        ca=folder / "ca.pem",
        other_ca=folder / "other_ca.pem",
        right=issue("right", NAME),
        wrong_name=issue("wrong_name", OTHER_NAME),
        expired=issue("expired", NAME, not_before=_LONG_AGO, not_after=_LONG_AGO + dt.timedelta(days=1)),
        client=issue("client", "gateway"),
    )


def _pkcs8(pem: bytes) -> bytes:
    """The key in the only form that Java reads."""
    return load_pem_private_key(pem, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

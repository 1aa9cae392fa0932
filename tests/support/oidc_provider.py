"""An OpenID Connect provider that nobody here wrote (oidc-provider of npm), on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from apps.devservices.ports import remembered_ports
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

CLIENT_ID: Final = "console"
CLIENT_SECRET: Final = "q7Vx-2LmP9_zRt4Kd8-wNc3"
_PROGRAM: Final = ROOT / "tests" / "console" / "oidc" / "provider.mjs"
_MODULES: Final = ROOT / ".tools" / "oidc" / "node_modules"


@contextmanager
def provider(folder: Path, *, redirect: str, people: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Its issuer. `redirect`: where it may lead back to; `people`: the claims of each login name, its subject."""
    node = shutil.which("node")
    if node is None or not (_MODULES / "oidc-provider").is_dir():
        missing = "the provider of single sign-on is not installed (scripts/oidc_provider.sh, with Node.js)"
        if os.environ.get("REQUIRE_OIDC_PROVIDER"):
            pytest.fail(missing)
        pytest.skip(missing)
    (port,) = remembered_ports(folder / "oidc.port", count=1)
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [redirect]}
    client |= {"token_endpoint_auth_method": "client_secret_post", "id_token_signed_response_alg": "RS256"}
    given = {"modules": str(_MODULES), "port": port, "client": client, "people": people}
    (folder / "oidc.json").write_text(json.dumps(given))
    with (folder / "oidc.log").open("wb") as log:
        process = subprocess.Popen([node, str(_PROGRAM), str(folder / "oidc.json")], stdout=log, stderr=log)
    issuer = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "oidc.log").read_text()
        try:
            with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, "the provider")
        yield issuer
    finally:
        process.terminate()
        process.wait()

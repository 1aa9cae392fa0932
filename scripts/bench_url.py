"""Loads a running deployment over HTTP, and prints what it accepted. It creates nothing but messages.

export SMS_CUSTOMER=01M85WEX1V5DRSABARX08QE0G2 SMS_KEY=…
scripts/benchmark.sh https://sms.example --to +989121234567 --spend-money

EVERY MESSAGE IS REAL: it is charged to the customer, goes to an operator, and costs what operators cost. At 2,000
messages a second 10 seconds are 20,000 messages to the number. So nothing is sent without --spend-money, and only to
the numbers that --to names: numbers of your own, better those of a simulator. The balance before and after is printed.

With a key each single send also brings an Idempotency-Key. All sends are of one customer, so its limit of messages a
minute applies; its charges run one after another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any, Final, NamedTuple

from apps.devservices.processes import ServiceError
from scripts import bench_table, load

_TIMEOUT: Final = 30.0
_KINDS: Final = {"send": (64, "send.lua"), "one": (1, "send.lua"), "batch": (2, "batch.lua")}


class Deployment(NamedTuple):
    """Where to send, for which customer, to which numbers."""

    url: str
    customer: str
    key: str
    recipients: list[str]

    def balance(self) -> dict[str, Any]:
        """The customer's balance document. Raises ServiceError with the problem that the API returned."""
        return self._ask("GET", f"/v1/customers/{self.customer}/balance")

    def send_one(self) -> None:
        """Send one message, so that a refusal is seen with its reason. Raises ServiceError."""
        body = {"customer_id": self.customer, "to": self.recipients[0], "text": "Your code is 123456."}
        self._ask("POST", "/v1/sms/send", json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        # The schemes are checked in `_deployment`.
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except urllib.error.HTTPError as error:
            raise ServiceError(f"{method} {path}: {error.code} {error.read(500).decode(errors='replace')}") from None
        except (OSError, ValueError) as error:
            raise ServiceError(f"{method} {self.url}{path}: {error}") from None


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    deployment = _deployment(parser, arguments)
    before = deployment.balance()
    if not arguments.spend_money:
        sys.stderr.write(
            f"bench: nothing was sent. This would send for {arguments.seconds * len(arguments.cases):g} s as many"
            f" messages to {', '.join(deployment.recipients)} as {deployment.url} takes, and charge each to customer"
            f" {deployment.customer} (balance {before['balance']:,}). Add --spend-money if you want that.\n"
        )
        return 2
    deployment.send_one()
    rows = [["case", "connections", "messages/s", "p50 ms", "p99 ms", "generator µs", "requests", "not 200"]]
    failures = []
    for name in arguments.cases:
        connections, script = _KINDS[name]
        connections = arguments.connections or connections
        size = arguments.batch if name == "batch" else 1
        found = load.wrk(
            deployment.url,
            script=load.SCRIPT.with_name(script),
            connections=connections,
            seconds=arguments.seconds,
            environ={
                "BENCH_CUSTOMERS": deployment.customer,
                "BENCH_KEYS": deployment.key,
                "BENCH_TO": ",".join(deployment.recipients),
                "BENCH_SIZE": str(size),
            },
            size=size,
        )
        if found.failed or not found.requests:
            failures.append(f"{name}: {found.why or 'no answer came in time'}")
        each = f"{found.cpu_seconds * 1e6 / max(1, found.requests * size):,.0f}"
        rate, p50, p99 = f"{found.rate:,.0f}", f"{found.p50_ms:,.1f}", f"{found.p99_ms:,.1f}"
        rows.append([name, str(connections), rate, p50, p99, each, f"{found.requests:,}", f"{found.failed:,}"])
    sys.stdout.write(bench_table.table(rows))
    after = deployment.balance()
    sys.stdout.write(f"balance: {before['balance']:,} before, {after['balance']:,} after\n")
    if failures:
        sys.stderr.write(f"bench: not all answers were 200, though they count above. {'; '.join(failures)}\n")
    return 1 if failures else 0


def _deployment(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Deployment:
    if not arguments.url.startswith(("http://", "https://")):
        parser.error(f"{arguments.url!r} is not a URL like https://sms.example")
    if not arguments.customer:
        parser.error("give the customer's id: --customer, or SMS_CUSTOMER in the environment")
    if not arguments.to:
        parser.error("give at least one number to send to: --to. The messages are real; choose a number of your own")
    return Deployment(arguments.url.rstrip("/"), arguments.customer, os.environ.get("SMS_KEY", ""), arguments.to)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="The API, without a path. Its key is read from SMS_KEY in the environment.")
    parser.add_argument("--customer", default=os.environ.get("SMS_CUSTOMER"), help="Default: SMS_CUSTOMER.")
    parser.add_argument("--to", nargs="+", metavar="NUMBER", help="Recipients, in turn: numbers of your own.")
    parser.add_argument("--spend-money", action="store_true", help="Without it nothing is sent.")
    parser.add_argument("--cases", nargs="+", choices=_KINDS, default=["send", "one"], help="Default: send one.")
    parser.add_argument("--seconds", type=float, default=10, help="Length of each case (default 10).")
    parser.add_argument("--connections", type=int, help="Instead of 64 (send), 1 (one), 2 (batch).")
    parser.add_argument("--batch", type=int, default=1_000, help="Messages of a batch (default 1,000).")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

"""`make up`: runs the services, the newest schema, a customer with credit, and every process of the Procfile until
Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from apps.devservices import stack
from apps.devservices.demo.run import manage
from apps.devservices.gateway import answer, is_free
from apps.devservices.ports import remembered_ports
from apps.devservices.processes import PROJECT_ROOT, ServiceError
from smsgateway import config, money

PORTS = "8080,8081,8090"
"""The ports of the API, the reporting API and the operator simulator, unless UP_PORTS changes them."""
WORKERS = ("relay", "deliver", "settle", "ingest", "callbacks")
READY_SECONDS = 60.0

WELCOME = """
  API             http://127.0.0.1:{api}       metrics at /metrics, health at /healthz and /readyz
  admin           http://127.0.0.1:{api}/admin/       `.venv/bin/python manage.py createsuperuser` creates a user
  reporting API   http://127.0.0.1:{reporting}   (the dashboard; /docs)
  operators       http://127.0.0.1:{simulator}       a simulator; /control/summary counts its messages

Send a message as the customer "{name}", whose balance is {balance}, then see its balance and statistics:

  curl http://127.0.0.1:{api}/v1/sms/send -H 'Content-Type: application/json'{auth} \\
    -d '{{"customer_id": "{customer}", "to": "+989121234567", "text": "Hello 👋"}}'
  curl http://127.0.0.1:{api}/v1/customers/{customer}/balance{auth}
  curl 'http://127.0.0.1:{reporting}/v1/stats/daily?customer_id={customer}&from={day}&to={next_day}'{auth}

Ctrl-C stops everything.
"""


def main() -> int:
    config.read_files(PROJECT_ROOT / ".env")
    ports = ports_of(os.environ.get("UP_PORTS") or PORTS)
    for name, port in zip(("api", "reporting", "operators"), ports, strict=True):
        if not is_free(port):
            raise ServiceError(
                f"{name}: port {port} is taken. Stop what uses it (`ss -ltnp` shows it), or choose three"
                " others: make up UP_PORTS=9080,9081,9090"
            )
    directory = stack.default_directory()
    were_running = all(service.state != "stopped" for service in stack.status(directory))
    addresses = stack.up(directory)
    try:
        return run(os.environ | addresses | {"DEVSERVICES_DIR": str(directory)}, ports)
    finally:
        if not were_running:
            stack.down(directory)


def ports_of(text: str) -> tuple[int, int, int]:
    """The three ports of UP_PORTS, as `9080,9081,9090`. Raises ServiceError."""
    ports = [int(port) if port.strip().isdigit() else 0 for port in text.split(",")]
    if len(ports) != 3 or len(set(ports)) != 3 or not all(0 < port < 65_536 for port in ports):
        raise ServiceError(f"UP_PORTS is {text!r}, not three different ports like {PORTS}.")
    return ports[0], ports[1], ports[2]


def run(environ: Mapping[str, str], http: tuple[int, int, int]) -> int:
    """Run the Procfile's processes, the HTTP services on these ports. Returns the exit code."""
    api, reporting, simulator = http
    for command in ("migrate", "clickhouse_migrate", "create_kafka_topics"):
        manage(command, environ=environ)
    name, balance = f"try-{int(time.time())}", 1_000_000
    customer = json.loads(manage("seed", f"{name}:100:{balance}", environ=environ))[name]
    auth = ""
    if environ.get("API_KEYS", "off") != "off":
        key = manage("api_key", "create", customer, "--label", "make up", environ=environ).strip()
        auth = f" -H 'Authorization: Bearer {key}'"
    ports = remembered_ports(Path(environ["DEVSERVICES_DIR"]) / "workers.ports", count=len(WORKERS))
    workers = dict(zip(WORKERS, ports, strict=True))
    processes = subprocess.Popen(
        [sys.executable, "-m", "honcho", "start"],
        cwd=PROJECT_ROOT,
        env={
            "LOG_FORMAT": "console",
            "HTTP_WORKERS": "2",
            **{"UP_API": str(api), "UP_REPORTING": str(reporting), "UP_OPERATORS": str(simulator)},
            **{f"OPERATOR_{name}_URL": f"http://127.0.0.1:{simulator}" for name in ("MCI", "IRANCELL")},
            "CALLBACK_ALLOW_PRIVATE": "true",  # to try callbacks with an endpoint on this machine
            # The admin's start page shows them.
            "ADMIN_PROCESSES": ",".join(f"{name}=http://127.0.0.1:{port}/metrics" for name, port in workers.items()),
            **{f"{name.upper()}_METRICS": str(port) for name, port in workers.items()},
            **environ,
            "PATH": f"{os.path.dirname(sys.executable)}:{environ['PATH']}",
        },
    )
    end = StopRequest(processes)
    if is_ready(processes, api, reporting):
        day = time.time() // 86_400 * 86_400
        sys.stdout.write(
            WELCOME.format(
                api=api,
                reporting=reporting,
                simulator=simulator,
                name=name,
                balance=money.with_currency(balance, environ.get("SMS_CURRENCY") or "IRR"),
                customer=customer,
                auth=auth,
                day=time.strftime("%Y-%m-%d", time.gmtime(day)),
                next_day=time.strftime("%Y-%m-%d", time.gmtime(day + 86_400)),
            )
        )
        sys.stdout.flush()
    return end.exit_code()


class StopRequest:
    """Ctrl-C, SIGTERM or a closed terminal: stop the processes, and exit without an error."""

    def __init__(self, processes: subprocess.Popen[bytes]) -> None:
        self._processes = processes
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: object) -> None:
        # The terminal sends Ctrl-C to honcho too; a second signal does no harm there.
        self._asked = True
        self._processes.terminate()

    def exit_code(self) -> int:
        """Wait for the end. Returns 0 after a requested stop, 1 if a process ended by itself."""
        ended = self._processes.wait()
        return 0 if self._asked or ended == 0 else 1


def is_ready(processes: subprocess.Popen[bytes], *ports: int) -> bool:
    """Wait until the services on these ports answer; False if the processes ended or it took too long."""
    deadline = time.monotonic() + READY_SECONDS
    while processes.poll() is None and time.monotonic() < deadline:
        if all(answer(f"http://127.0.0.1:{port}/readyz") == "ok" for port in ports):
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"up: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

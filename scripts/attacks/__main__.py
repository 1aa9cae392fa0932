"""Measure another customer's single sends without and during an attack: python -m scripts.attacks NAME URL …

Prints a JSON line: the figures of both, and the ratio of their p99. With --hold it only attacks, until its standard
input ends: it prints `standing` when the attack stands, and at the end the attackers' counts as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from scripts.attacks.batches import batches
from scripts.attacks.crew import Crew
from scripts.attacks.drip import drip_body, drip_headers
from scripts.attacks.gzip_items import gzip_100000, gzip_1700000
from scripts.attacks.held_account import held_account
from scripts.attacks.idle import idle
from scripts.attacks.lingering import lingering
from scripts.attacks.measure import measure
from scripts.attacks.resets import resets
from scripts.attacks.target import Target, parse
from scripts.attacks.unread import unread

Attack = Callable[[Target, Crew], Awaitable[None]]
ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        idle,
        drip_headers,
        drip_body,
        unread,
        lingering,
        gzip_100000,
        gzip_1700000,
        held_account,
        batches,
        resets,
    )
}


def main() -> int:
    options = _options()
    _allow_many_files()
    if options.hold:
        asyncio.run(
            _hold(ATTACKS[options.name], parse(options.url, customer=options.attacker, key=options.attacker_key))
        )
    else:
        asyncio.run(_compare(options))
    return 0


def _options() -> argparse.Namespace:
    about = "\n".join(f"  {name:14} {attack.__doc__}" for name, attack in ATTACKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scripts.attacks",
        description=f"{__doc__}\nAttacks:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=ATTACKS, metavar="NAME")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--attacker", required=True, help="the attacking customer's id; it needs credit")
    parser.add_argument("--attacker-key", default="", help="its API key, if keys are required")
    parser.add_argument("--victim", default="", help="the other customer's id; it needs credit")
    parser.add_argument("--victim-key", default="", help="its API key, if keys are required")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each of the two measurements takes")
    parser.add_argument("--hold", action="store_true", help="only attack, until standard input ends")
    options = parser.parse_args()
    if not options.hold and not options.victim:
        parser.error("--victim is missing")
    return options


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _hold(attack: Attack, target: Target) -> None:
    crew = Crew()
    attacking = asyncio.ensure_future(attack(target, crew))
    standing = asyncio.ensure_future(crew.standing())
    await asyncio.wait([attacking, standing], return_when=asyncio.FIRST_COMPLETED)
    if not attacking.done():
        _write("standing")
        await asyncio.to_thread(sys.stdin.read)
        attacking.cancel()
    await asyncio.wait([attacking])
    if not attacking.cancelled() and (error := attacking.exception()):
        raise error
    _write(json.dumps(crew.counts))


async def _compare(options: argparse.Namespace) -> None:
    victim = parse(options.url, customer=options.victim, key=options.victim_key)
    await measure(victim, seconds=1)
    before = await measure(victim, seconds=options.seconds)
    # The attackers in a process of their own, so that they do not slow down the clock of the other customer.
    held = [sys.executable, "-m", "scripts.attacks", *sys.argv[1:], "--hold"]
    attacking = await asyncio.create_subprocess_exec(
        *held, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    if attacking.stdin is None or attacking.stdout is None or await attacking.stdout.readline() != b"standing\n":
        sys.exit("The attack did not begin.")
    during = await measure(victim, seconds=options.seconds)
    attacking.stdin.close()
    counts = json.loads(await attacking.stdout.read())
    await attacking.wait()
    ratio = round(during.p99_ms / before.p99_ms, 2)
    found = {"attack": options.name, "p99_ratio": ratio, "before": before._asdict(), "during": during._asdict()}
    _write(json.dumps(found | {"attackers": counts}))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

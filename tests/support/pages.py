"""Markdown pages: their headings as anchors, their links, their commands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from django.core.management import get_commands, load_command_class

_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings: small letters, hyphens for spaces, a number where one comes again."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", without_code(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(text: str) -> Iterator[str]:
    """Where the page's links and images lead."""
    plain = re.sub(r"`[^`]*`", "", without_code(text))
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", plain)
    yield from re.findall(r"(?:src|href|srcset)=\"([^\"]+)\"", plain)


def shell_blocks(page: Path) -> list[str]:
    """The page's ```sh blocks, in order, without their indentation."""
    found = re.findall(r"^( *)```sh\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def accepted_by_manage(command: list[str]) -> None:
    name, *arguments = command
    loaded = load_command_class(get_commands()[name], name)
    loaded.create_parser("manage.py", name).parse_args(arguments)  # a CommandError or an exit, if it does not know them

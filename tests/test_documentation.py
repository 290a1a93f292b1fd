"""README, --help, manifests and settings agree, variable by variable."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks import settings
from hooks.verdict import Cause

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMMANDS: dict[str, type[settings.Logging]] = {
    "presync-standby": settings.Standby,
    "postsync-verify": settings.Postsync,
    "syncfail-alert": settings.AlertByPagerDuty,
    "return-to-active": settings.Verification,
    "standby-watchdog": settings.Watch,
}
LETTERS = {
    "presync-standby": "S",
    "postsync-verify": "V",
    "syncfail-alert": "A",
    "return-to-active": "R",
    "standby-watchdog": "W",
}
UPDATE = "UPDATE_README"


def rows() -> list[str]:
    """Return the README's table of variables, made from the settings."""
    names = dict.fromkeys(name for kind in COMMANDS.values() for name in kind.model_fields)
    return [_row(name) for name in names]


def _row(name: str) -> str:
    fields = {
        LETTERS[command]: kind.model_fields[name]
        for command, kind in COMMANDS.items()
        if name in kind.model_fields
    }
    readers = "all" if len(fields) == len(COMMANDS) else "".join(fields)
    optional = "".join(letter for letter, of in fields.items() if not of.is_required())
    defaults = {settings.default_of(of) for of in fields.values()}
    if "required" in defaults:
        default = f"required (optional for {optional})" if optional else "required"
    else:
        default = "unset" if defaults == {"unset"} else f"`{defaults.pop()}`"
    return f"| `{name.upper()}` | {default} | {next(iter(fields.values())).description} | {readers} |"


def test_the_readme_has_every_variable_with_its_default_and_who_reads_it() -> None:
    """The README's table is what the settings say; UPDATE_README=1 writes it anew."""
    text = README.read_text()
    before, begin, rest = text.partition("<!-- variables -->\n")
    table, end, after = rest.partition("<!-- end of variables -->")
    expected = "\n".join(["| variable | default | meaning | read by |", "|---|---|---|---|", *rows()]) + "\n"
    if os.environ.get(UPDATE):
        README.write_text(before + begin + expected + end + after)
    else:
        assert expected == table


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_variable(command: str) -> None:
    """What --help prints names each variable that the command reads, in the order of its settings."""
    listed = re.findall(r"^  ([A-Z_]+)  \(", settings.described(COMMANDS[command]), re.MULTILINE)
    assert [name.upper() for name in COMMANDS[command].model_fields] == listed


def test_the_readme_has_every_exit_code() -> None:
    """Each ending stands in the README with its code and its cause."""
    text = README.read_text()
    assert [] == [cause for cause in Cause if f"| {cause.value} | `{cause.name.lower()}` |" not in text]


def containers() -> list[Any]:
    """Return every container named `hook` of the shipped manifests: the command, if it is told, and its variables."""
    return [
        pytest.param(container, id=f"{path.relative_to(ROOT)}")
        for path in sorted((ROOT / "k8s").rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        for container in _containers(document)
    ]


def _containers(node: Any) -> list[Any]:
    if isinstance(node, list):
        return [container for item in node for container in _containers(item)]
    if not isinstance(node, dict):
        return []
    own = [node] if node.get("name") == "hook" and "env" in node else []
    return own + [container for item in node.values() for container in _containers(item)]


@pytest.mark.parametrize("container", containers())
def test_manifests_set_only_variables_that_are_read(container: dict[str, Any]) -> None:
    """A variable that nobody reads would be a wish that is not fulfilled."""
    command = container.get("command", [None])[0]
    kinds = [COMMANDS[command]] if command else list(COMMANDS.values())
    read = {name.upper() for kind in kinds for name in kind.model_fields}
    # What only an expression reads, by env.NAME, begins with EXPECT_.
    given = {variable["name"] for variable in container["env"] if not variable["name"].startswith("EXPECT_")}
    assert set() == given - read

"""Imports point up: a room imports only from rooms above it, and every file has a room."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

BOT = Path(__file__).parent.parent / "bot"

# One row a room, top to bottom; a file may import from the rows above its own and from its own package.
ROOMS = [
    ["bot"],
    ["bot.model", "bot.tasks", "bot.logs", "bot.alive"],
    ["bot.errors"],
    ["bot.command", "bot.references"],
    ["bot.yamlfile"],
    ["bot.shapes"],
    ["bot.values"],
    ["bot.sql", "bot.redact"],
    ["bot.recipes"],
    ["bot.baselines", "bot.services", "bot.policy", "bot.budgets", "bot.secrets"],
    ["bot.targets", "bot.retention", "bot.tools"],
    ["bot.settings_file"],
    ["bot.settings"],
    ["bot.check", "bot.schemas", "bot.template"],
    ["bot.story"],
    ["bot.report"],
    ["bot.insights"],
    ["bot.cost", "bot.budgets.sums"],
    ["bot.transports"],
    ["bot.stores"],
    ["bot.journal", "bot.metrics", "bot.plugins"],
    ["bot.following"],
    ["bot.report.writing", "bot.audit"],
    ["bot.pipeline", "bot.features"],
    ["bot.measuring", "bot.survey", "bot.sudoers", "bot.budgets.ledger"],
    ["bot.comparing"],
    ["bot.runner", "bot.catalogue", "bot.permission"],
    ["bot.approvals", "bot.permission.menu"],
    ["bot.desk"],
    ["bot.baselines.surplus", "bot.baselines.schedule", "bot.approvals.approving"],
    ["bot.announcing", "bot.incidents"],
    ["bot.reporters"],
    ["bot.notes"],
    ["bot.slack", "bot.pagerduty", "bot.web"],
    ["bot.playground"],
    ["bot.assembly"],
    ["bot.doctor", "bot.permission.explaining", "bot.oneshot", "bot.redacting", "bot.serving"],
    ["bot.lookback", "bot.auditing"],
    ["bot.options"],
    ["bot.cli"],
    ["bot.__main__"],
]


def room_of(module: str) -> int:
    """The row of a module's room: the longest listed name that it is or lies in."""
    rows = {name: row for row, names in enumerate(ROOMS) for name in names}
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (name := ".".join(parts[:length])) in rows:
            return rows[name]
    if module == "bot":
        return 0
    pytest.fail(f"{module} has no room: give it a row in {Path(__file__).name}")


def module_of(path: Path) -> str:
    """The dotted name of a file below bot/."""
    parts = path.relative_to(BOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Every bot module that *path* imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            assert node.module
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in submodules if (BOT.parent / (name.replace(".", "/") + ".py")).exists()} or {
                node.module
            }
    return frozenset(name for name in found if name == "bot" or name.startswith("bot."))


def package_of(module: str) -> str:
    """The room's own name, e.g. bot.transports for bot.transports.ssh."""
    return ".".join(module.split(".")[:2])


def test_a_room_imports_only_from_rooms_above() -> None:
    """A lower room never leaks into a higher one."""
    wrong = {
        module: leaks
        for module, path in ((module_of(path), path) for path in BOT.rglob("*.py"))
        if (
            leaks := {
                name
                for name in imports_of(path)
                if package_of(name) != package_of(module) and room_of(name) >= room_of(module)
            }
        )
    }

    assert wrong == {}


SEAMS = {
    "bot.transports": {"local", "mysql", "ssh", "windows"},
    "bot.stores": {"folder", "s3"},
    "bot.reporters": {"pagerduty", "slack", "terminal"},
}


@pytest.mark.parametrize("seam", SEAMS)
def test_implementations_of_a_seam_do_not_know_each_other(seam: str) -> None:
    """What two of them share has a module of its own, which knows neither."""
    implementations = {f"{seam}.{name}" for name in SEAMS[seam]}
    for path in (BOT / seam.removeprefix("bot.")).glob("*.py"):
        others = (imports_of(path) & implementations) - {module_of(path)}

        assert others == set(), f"{path.name} imports {others}"

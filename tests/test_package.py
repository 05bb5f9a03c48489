"""What is shipped: every package, every recipe, every built-in registered, the manifest that Slack accepts."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.cli import COMMANDS
from bot.doctor import SCOPES
from bot.recipes import builtin_folder, load_folder
from bot.schemas import config_schema, recipe_schema
from bot.slack import dialogs, notes

TREE = Path(__file__).parent.parent
SCHEMAS = Path(os.environ.get("CAPTUREBOT_SCHEMAS", TREE.parent / "shared/reference/schemas"))

# Slack's methods and events in use → the scopes each needs (docs.slack.dev, one page a method).
SCOPES_OF = {
    "auth_test": set(),
    "apps_connections_open": set(),  # needs the app-level token, not a scope of the bot
    "chat_postMessage": {"chat:write"},
    "chat_update": {"chat:write"},
    "conversations_info": {"channels:read", "groups:read"},
    "bookmarks_list": {"bookmarks:read"},
    "conversations_join": {"channels:join"},
    "conversations_history": {"channels:history", "groups:history"},
    "conversations_replies": {"channels:history", "groups:history"},
    "chat_postEphemeral": {"chat:write"},
    "usergroups_list": {"usergroups:read"},
    "users_info": {"users:read"},
    "views_open": set(),
    "views_update": set(),
    "command": {"commands"},
    "pins_add": {"pins:write"},
    "views_publish": set(),
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "channel_created": {"channels:read"},
    "channel_rename": {"channels:read"},
    "group_rename": {"groups:read"},
    "member_joined_channel": {"channels:read", "groups:read"},
    "message": {"channels:history", "groups:history"},
    "pin_added": {"pins:read"},
}

EVENTS = {
    "app_home_opened",
    "app_mention",
    "channel_created",
    "channel_rename",
    "group_rename",
    "member_joined_channel",
    "message",
    "pin_added",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((TREE / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """manifest.yml."""
    loaded: dict[str, Any] = yaml.safe_load((TREE / "manifest.yml").read_text())
    return loaded


def test_every_package_is_shipped(project: dict[str, Any]) -> None:
    """The list is written by hand, because the recipes are mapped into the package."""
    found = {".".join(path.parent.relative_to(TREE).parts) for path in (TREE / "bot").rglob("__init__.py")}

    assert set(project["tool"]["setuptools"]["packages"]) == found | {"bot.captures"}


def test_every_insight_that_a_recipe_names_is_registered(project: dict[str, Any]) -> None:
    """And every registered one is named by a recipe, or by the guide to writing recipes: nothing ships unused."""
    named = {step.insight for recipe in load_folder(builtin_folder()).values() for step in recipe.steps}

    assert set(project["project"]["entry-points"]["capturebot.insights"]) == (named - {None}) | {"difference"}


def test_the_manifest_is_what_slack_accepts(manifest: dict[str, Any]) -> None:
    """Checked against Slack's published schema."""
    version = manifest["_metadata"]["major_version"]
    path = SCHEMAS / f"manifest.schema.{version}.0.0.json"
    if not path.exists():  # Slack's own document, which no checkout brings along: skipped in CI, too
        pytest.skip("Slack's manifest schema is not here; set CAPTUREBOT_SCHEMAS to its folder")

    jsonschema.validate(manifest, json.loads(path.read_text()))


@pytest.mark.parametrize(("name", "schema"), [("recipe", recipe_schema), ("capturebot", config_schema)])
def test_the_published_schemas_are_the_loaders_own(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    """Editors complete what the bot accepts; `capturebot schema` writes these files anew."""
    published = json.loads((TREE / f"docs/schemas/{name}.schema.json").read_text())

    assert published == schema()


def methods_in_use() -> set[str]:
    """Every method of Slack's client that the bot's own code calls, and the command listener."""
    methods = set()
    for path in [*(TREE / "bot/slack").glob("*.py"), TREE / "bot/reporters/slack.py", TREE / "bot/doctor.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match(
                r"(chat|conversations|auth|apps|usergroups|users|views|pins|bookmarks)_", node.attr
            ):
                methods.add(node.attr)
            if isinstance(node, ast.Attribute) and node.attr == "command" and path.name == "app.py":
                methods.add("command")
            match node:
                case ast.Call(func=ast.Attribute(attr="event"), args=[ast.Constant(value=str(name))]):
                    methods.add(name)
    return methods


def test_the_manifest_subscribes_to_just_the_events_in_use(manifest: dict[str, Any]) -> None:
    """One without a listener would be sent again and again."""
    events = set(manifest["settings"]["event_subscriptions"]["bot_events"])

    assert {name.partition(".")[0] for name in events} == methods_in_use() & EVENTS


def test_the_manifest_offers_just_the_shortcuts_in_use(manifest: dict[str, Any]) -> None:
    """Slack shows an error for one that nobody answers."""
    offered = {one["callback_id"] for one in manifest["features"]["shortcuts"]}

    assert offered == {dialogs.HERE, notes.SEND}


def test_the_manifest_asks_for_just_the_scopes_in_use(manifest: dict[str, Any]) -> None:
    """No method without its scope, no scope without a method."""
    needed = set().union(*(SCOPES_OF[method] for method in methods_in_use()))

    assert set(manifest["oauth_config"]["scopes"]["bot"]) == needed == SCOPES


def test_the_manifest_lets_buttons_reach_the_bot(manifest: dict[str, Any]) -> None:
    """Slack drops presses of an app without interactivity."""
    assert ".action(" in (TREE / "bot/slack/app.py").read_text()
    assert manifest["settings"]["interactivity"]["is_enabled"]


def test_the_readme_names_every_command() -> None:
    """The table in the README is the command line's own list."""
    readme = (TREE / "README.md").read_text()

    assert [name for name in COMMANDS if f"`capturebot {name}" not in readme] == []


def test_locked_dependencies_carry_hashes_and_no_addresses(project: dict[str, Any]) -> None:
    """Every requirement is pinned with its hash, and no file names a registry."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (TREE / name).read_text()
        pinned = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE)
        wanted = {re.split(r"[><=\[ ]", line)[0].lower() for line in project["project"]["dependencies"]}

        assert "://" not in text
        assert wanted <= set(pinned)
        assert len(pinned) == sum(not line.startswith((" ", "#")) for line in text.splitlines() if line)
        assert text.count("--hash=sha256:") > len(pinned)

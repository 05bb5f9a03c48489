"""The installed app: what its manifest asks Slack for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A slash command; *escape* is the manifest's should_escape."""

    name: str
    about: str = ""
    usage: str = ""
    escape: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """An entry of a message's menu, or of the composer's."""

    name: str
    callback_id: str
    kind: Literal["message", "global"]


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What was granted at installation. The workspace delivers and allows nothing beyond it."""

    name: str = "capturebot"
    scopes: frozenset[str] = frozenset(
        {
            "commands",
            "chat:write",
            "channels:read",
            "channels:join",
            "groups:read",
            "app_mentions:read",
            "users:read",
        }
    )
    events: frozenset[str] = frozenset({"channel_created", "channel_rename", "member_joined_channel", "app_mention"})
    commands: tuple[Command, ...] = (Command(name="/capture", about="Capture diagnostics"),)
    shortcuts: tuple[Shortcut, ...] = ()
    interactive: bool = True
    has_home: bool = False

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """Read a manifest (already parsed from YAML or JSON, already checked against Slack's schema)."""
        features, settings = manifest.get("features", {}), manifest.get("settings", {})
        scopes = manifest.get("oauth_config", {}).get("scopes", {})
        return cls(
            name=features.get("bot_user", {}).get("display_name") or manifest["display_information"]["name"],
            scopes=frozenset(scopes.get("bot", [])),
            events=frozenset(settings.get("event_subscriptions", {}).get("bot_events", [])),
            commands=tuple(
                Command(
                    name=command["command"],
                    about=command.get("description", ""),
                    usage=command.get("usage_hint", ""),
                    escape=command.get("should_escape", False),
                )
                for command in features.get("slash_commands", [])
            ),
            shortcuts=tuple(
                Shortcut(name=shortcut["name"], callback_id=shortcut["callback_id"], kind=shortcut["type"])
                for shortcut in features.get("shortcuts", [])
            ),
            has_home=features.get("app_home", {}).get("home_tab_enabled", False),
            interactive=settings.get("interactivity", {}).get("is_enabled", False),
        )

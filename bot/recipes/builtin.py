"""Where the recipes are that ship with the bot."""

from __future__ import annotations

from pathlib import Path


def builtin_folder() -> Path:
    """The folder of the recipes that ship with the bot: inside the package when installed, else beside it."""
    package = Path(__file__).parent.parent
    installed = package / "captures"
    return installed if installed.is_dir() else package.parent / "captures"

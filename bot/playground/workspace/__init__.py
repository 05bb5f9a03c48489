"""A Slack workspace on this machine that speaks the real protocol, with a page to look at.

It refuses what Slack refuses, in Slack's words: tokens, scopes, arguments, blocks, rates, the three seconds of
an acknowledgement. Nothing leaves 127.0.0.1, nothing is kept after it ends.
"""

from bot.playground.workspace.app import App, Command, Shortcut
from bot.playground.workspace.clock import Clock, SystemClock
from bot.playground.workspace.limits import Limits
from bot.playground.workspace.nouns import Message
from bot.playground.workspace.people import NotPossible
from bot.playground.workspace.socketmode import Answer, Delivery
from bot.playground.workspace.web_api import Call, Fault
from bot.playground.workspace.workspace import Workspace

__all__ = [
    "Answer",
    "App",
    "Call",
    "Clock",
    "Command",
    "Delivery",
    "Fault",
    "Limits",
    "Message",
    "NotPossible",
    "Shortcut",
    "SystemClock",
    "Workspace",
]

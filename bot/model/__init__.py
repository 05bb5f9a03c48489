"""The nouns of the product, frozen. No input or output happens here.

Times are timezone-aware UTC; durations end in ``_s`` (seconds), sizes in ``_bytes``.
"""

from bot.model.captures import Artifact, Capture, Finding, Person, Place, StepHead, StepResult, Trigger
from bot.model.events import (
    Accepted,
    Event,
    Finished,
    Linked,
    Moved,
    NoteFailed,
    NoteWritten,
    Refused,
    Started,
    StepFinished,
    StepStarted,
    StopAsked,
    capture_of,
)
from bot.model.recipes import Action, Log, Parameter, ParameterType, Recipe, Run, Sampling, Script, Sql, Statement, Step
from bot.model.targets import MySql, SecretRef, Ssh, Target, TargetKind, Tls
from bot.model.verdicts import Impact, Level, Outcome, Source, State

__all__ = [
    "Accepted",
    "Action",
    "Artifact",
    "Capture",
    "Event",
    "Finding",
    "Finished",
    "Impact",
    "Level",
    "Linked",
    "Log",
    "Moved",
    "MySql",
    "NoteFailed",
    "NoteWritten",
    "Outcome",
    "Parameter",
    "ParameterType",
    "Person",
    "Place",
    "Recipe",
    "Refused",
    "Run",
    "Sampling",
    "Script",
    "SecretRef",
    "Source",
    "Sql",
    "Ssh",
    "Started",
    "State",
    "Statement",
    "Step",
    "StepFinished",
    "StepHead",
    "StepResult",
    "StepStarted",
    "StopAsked",
    "Target",
    "TargetKind",
    "Tls",
    "Trigger",
    "capture_of",
]

"""What a message says, read from arguments and checked: the same for posts, edits and response URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.playground.workspace.blocks import check_blocks, spoken
from bot.playground.workspace.inputs import named
from bot.playground.workspace.limits import ATTACHMENTS, MARKDOWN_CHARS, TEXT_CUT_CHARS, UPDATE_TEXT_CHARS
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A message's content. *metadata* is None where it was not given."""

    text: str
    blocks: tuple[Json, ...]
    attachments: tuple[Json, ...]
    metadata: Json | None
    warnings: tuple[str, ...]

    def fields(self) -> Json:
        """The fields of a Message that are the content."""
        return {"text": self.text, "blocks": self.blocks, "attachments": self.attachments}


def read_content(args: Args, *, update: bool = False) -> Content:
    """Read text, blocks, attachments and metadata. Raises Refusal with Slack's error for what is wrong."""
    text, markdown = args.maybe("text"), args.maybe("markdown_text")
    blocks = args.structure("blocks", error="invalid_blocks_format")
    if blocks is not None and not isinstance(blocks, list):
        raise Refusal("invalid_blocks_format")
    attachments = _attachments(args.structure("attachments", error="invalid_attachments"))
    if markdown is not None:
        if text or blocks:
            raise Refusal("markdown_text_conflict")
        if len(markdown) > MARKDOWN_CHARS:
            raise Refusal("msg_too_long")
        text, blocks = markdown, [{"type": "markdown", "text": markdown}]
    if not (text or blocks or attachments):
        raise Refusal("no_text")
    if update and text and len(text) > UPDATE_TEXT_CHARS:
        raise Refusal("msg_too_long")
    if found := check_blocks(blocks or [], "message"):
        raise Refusal("invalid_blocks", messages=found)
    warnings = [] if text else ["missing_text_in_message"]
    if text and len(text) > TEXT_CUT_CHARS:
        warnings.append("message_truncated")
    return Content(
        text=(text or spoken(blocks or []))[:TEXT_CUT_CHARS],
        blocks=tuple(named(blocks or [])),
        attachments=attachments,
        metadata=_metadata(args.structure("metadata", error="metadata_must_be_sent_as_json")),
        warnings=tuple(warnings),
    )


def _attachments(given: Any) -> tuple[Json, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refusal("invalid_attachments")
    if len(given) > ATTACHMENTS:
        raise Refusal("too_many_attachments")
    made = []
    for index, one in enumerate(given):
        blocks = one.get("blocks", [])
        if found := check_blocks(blocks, "message", f"/attachments/{index}/blocks"):
            raise Refusal("invalid_attachments", messages=found)
        made.append({**one, "id": index + 1, "blocks": named(blocks)} if blocks else {**one, "id": index + 1})
    return tuple(made)


def _metadata(given: Any) -> Json | None:
    """{event_type, event_payload}, or {} to remove what is there."""
    if given is None:
        return None
    if given == {}:
        return {}
    payload = given.get("event_payload") if isinstance(given, dict) else None
    if not isinstance(payload, dict) or not isinstance(given.get("event_type"), str) or not given["event_type"]:
        raise Refusal("invalid_metadata_format")
    return {"event_type": given["event_type"], "event_payload": payload}

"""Messages that answer an interaction: the payload of an ack, and what is sent to a response URL."""

from __future__ import annotations

from aiohttp import web

from bot.playground.workspace.content import read_content
from bot.playground.workspace.nouns import BOT_USER_ID, Channel, Message
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.tickets import Reply
from bot.playground.workspace.wire import Args, Refusal, read_request
from bot.playground.workspace.world import World


async def serve_response_url(world: World, request: web.Request) -> web.Response:
    """POST /response/KEY. Answers "ok", or Slack's error as JSON with status 404 (late, used up) or 400."""
    try:
        payload = _payload((await read_request(request)).args)
        respond(world, world.urls.use(request.match_info["key"]), payload)
    except Refusal as refusal:
        status = 404 if refusal.error in ("expired_url", "used_url") else 400
        return web.json_response(refusal.as_slack(), status=status)
    return web.Response(text="ok")


def respond(world: World, reply: Reply, payload: Json) -> None:
    """Show *payload*: to one person unless it says in_channel, in the message's place if it says so. Raises Refusal.

    It may post where the bot itself may not. What was ephemeral stays so.
    """
    args = Args(payload)
    if (kind := args.maybe("response_type")) not in (None, "ephemeral", "in_channel"):
        raise Refusal("invalid_response_type")
    channel = world.state.channels[reply.channel]
    source = _source(channel, world, reply)
    if args.flag("delete_original"):
        if source is None:
            raise Refusal("cant_delete_message")
        world.state.remove(channel, source)
        return
    content = read_content(args)
    if source and args.flag("replace_original"):
        world.state.change(channel, source, **content.fields())
        return
    thread_ts = args.maybe("thread_ts")
    if thread_ts and thread_ts not in channel.messages:
        raise Refusal("thread_not_found")
    more: Json = {"user": BOT_USER_ID, "by_app": True, "thread_ts": thread_ts, **content.fields()}
    if kind == "in_channel":
        world.state.post(channel, **more)
    else:
        world.state.whisper(channel, to=reply.user, **more)


def _payload(args: Args) -> Json:
    """The message: the JSON body itself, or a form's field `payload`."""
    if "payload" not in args.values:
        return args.values
    given = args.structure("payload", error="invalid_payload")
    if not isinstance(given, dict):
        raise Refusal("invalid_payload")
    return given


def _source(channel: Channel, world: World, reply: Reply) -> Message | None:
    """The app's own message that was acted on; other people's words cannot be replaced."""
    message = world.state.find(channel, reply.source_ts) if reply.source_ts else None
    return message if message and message.by_app else None

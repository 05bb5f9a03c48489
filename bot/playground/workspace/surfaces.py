"""views.*: modals and the App Home."""

from __future__ import annotations

from bot.playground.workspace.methods import Method
from bot.playground.workspace.modals import check_view
from bot.playground.workspace.nouns import APP_ID, BOT_ID, TEAM_ID
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, Refusal
from bot.playground.workspace.world import World


def open_view(world: World, args: Args) -> Json:
    """views.open."""
    body = _view(args, "modal")
    view = world.modals.open(world.triggers.redeem(args.text("trigger_id")), body)
    return {"view": view.as_slack()}


def push_view(world: World, args: Args) -> Json:
    """views.push."""
    body = _view(args, "modal")
    view = world.modals.push(world.triggers.redeem(args.text("trigger_id")), body)
    return {"view": view.as_slack()}


def update_view(world: World, args: Args) -> Json:
    """views.update."""
    body = _view(args, "modal")
    if not (args.maybe("view_id") or args.maybe("external_id")):
        raise Refusal("invalid_arguments", messages=["[ERROR] missing required field: view_id"])
    view = world.modals.find(view_id=args.maybe("view_id"), external_id=args.maybe("external_id"))
    return {"view": world.modals.update(view, body, given_hash=args.maybe("hash")).as_slack()}


def publish_view(world: World, args: Args) -> Json:
    """views.publish."""
    body = _view(args, "home")
    if (user := args.text("user_id")) not in world.state.users:
        raise Refusal("user_not_found")
    view = {**body, "id": f"VHOME{user}", "team_id": TEAM_ID, "app_id": APP_ID, "bot_id": BOT_ID}
    world.state.publish_home(user, view)
    return {"view": view}


def _view(args: Args, kind: str) -> Json:
    return check_view(args.structure("view", error="invalid_arguments"), kind)


METHODS = {
    "views.open": Method(open_view, tier=4),
    "views.push": Method(push_view, tier=4),
    "views.update": Method(update_view, tier=4),
    "views.publish": Method(publish_view, tier=4),
}

"""Who people in Slack are: members of this workspace or not, and the user groups that they are in.

What Slack says is believed for a minute from when it was asked. What it does not say within two seconds is not known,
and then rules decide as if it were the worst.

Facts (docs.slack.dev): `users.info` tells of guests (`is_restricted`, `is_ultra_restricted`), of people of other
workspaces (`team_id`; `is_stranger` where no channel is shared) and of bots. In an organisation of several workspaces
`team_id` may be another one than the bot's, and `enterprise_user.teams` says in which somebody is. `usergroups.list` tells
all groups and who is in them at once; a method that asks for one group may be called some 20 times a minute only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Member, Membership, Person, Policy
from bot.recipes import nearest
from bot.slack.fresh import Found, Fresh
from bot.tasks import Tasks

FRESH_S = 60.0  # for so long an answer is believed: who loses a membership loses what it allowed within a minute
LOOK_UP_S = 2.0  # a dialog must be open three seconds after the press
AGAIN_S = 2.0  # before what was not answered is asked for again
KNOWN_AT_MOST = 2000  # people, and channels
FOREIGN_AT_MOST = 2000
NOBODY = frozenset({"user_not_found", "user_not_visible"})  # Slack's errors about people it does not show

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """User groups as Slack tells of them: names that rules use, by members; and the handles of all by their ids."""

    of: Mapping[str, frozenset[str]]
    handles: Mapping[str, str]


class Directory:
    """Asks Slack. *groups* are those that rules name: ids, or handles after `@`."""

    def __init__(
        self,
        client: AsyncWebClient,
        *,
        groups: frozenset[str],
        tasks: Tasks,
        clock: Callable[[], float],
        within_s: float = LOOK_UP_S,
    ) -> None:
        self._client = client
        self._within_s = within_s
        self._wanted = groups
        self._team, self._enterprise = "", ""
        self._foreign: dict[str, None] = {}
        self._users = Fresh(self._ask_user, most=KNOWN_AT_MOST, tasks=tasks, clock=clock)
        self._groups = Fresh(self._ask_groups, most=1, tasks=tasks, clock=clock)
        self._channels = Fresh(self._ask_channel, most=KNOWN_AT_MOST, tasks=tasks, clock=clock)

    def settle(self, me: Mapping[str, Any]) -> None:
        """Learn from `auth.test` which workspace is ours; before that nobody is a member."""
        self._team = str(me.get("team_id") or "")
        self._enterprise = str(me.get("enterprise_id") or "")

    def heard(self, user: str, team: str) -> None:
        """Take in what a payload says of whoever caused it: of another workspace, they are strangers without asking.

        In an organisation it may be another workspace of the same one; then Slack is asked all the same.
        """
        if user and team.startswith("T") and team != self._team and not self._enterprise:
            self._foreign[user] = None
            while len(self._foreign) > FOREIGN_AT_MOST:
                self._foreign.pop(next(iter(self._foreign)))

    async def member(self, person: Person) -> Member:
        """See `bot.permission.Members`."""
        if person.id in self._foreign:
            return Member(id=person.id, name=person.name, membership=Membership.STRANGER)
        found, groups = await asyncio.gather(self._users.get(person.id), self._who_is_where())
        mine = None if groups is None else groups.get(person.id, frozenset())
        return Member(id=person.id, name=found.name or person.name, membership=found.membership, groups=mine)

    async def channel_name(self, channel: str) -> str:
        """See `bot.permission.Members`."""
        return await self._channels.get(channel)

    async def handle(self, group: str) -> str:
        """See `bot.permission.Members`."""
        groups = await self._groups.get("") if group in self._wanted else None
        return groups.handles.get(group, "") if groups else ""

    async def _who_is_where(self) -> Mapping[str, frozenset[str]] | None:
        if not self._wanted:
            return {}
        groups = await self._groups.get("")
        return groups.of if groups else None

    # --- what Slack says ------------------------------------------------------------------------

    async def _ask_user(self, user_id: str) -> Found[Member]:
        try:
            async with asyncio.timeout(self._within_s):
                user = (await self._client.users_info(user=user_id))["user"]
        except SlackApiError as error:
            kind = Membership.STRANGER if error.response.get("error") in NOBODY else Membership.UNKNOWN
            keep_s = FRESH_S if kind is Membership.STRANGER else _again_s(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("Slack did not say who somebody is", user=user_id, error=str(error)[:200] or "no answer")
            kind, keep_s = Membership.UNKNOWN, AGAIN_S
        else:
            member = Member(id=user_id, name=str(user.get("name") or user_id), membership=self._kind(user))
            return Found(value=member, keep_s=FRESH_S)
        return Found(value=Member(id=user_id, name="", membership=kind), keep_s=keep_s)

    def _kind(self, user: Mapping[str, Any]) -> Membership:
        if user.get("deleted"):
            return Membership.DEACTIVATED
        if user.get("is_bot") or user.get("is_workflow_bot") or user.get("id") == "USLACKBOT":
            return Membership.BOT
        if user.get("is_stranger") or not self._is_ours(user):
            return Membership.STRANGER
        if user.get("is_restricted") or user.get("is_ultra_restricted"):
            return Membership.GUEST
        return Membership.MEMBER

    def _is_ours(self, user: Mapping[str, Any]) -> bool:
        if self._team and user.get("team_id") == self._team:
            return True
        there = user.get("enterprise_user") or {}
        same = bool(self._enterprise) and there.get("enterprise_id") == self._enterprise
        return same and self._team in (there.get("teams") or [])

    async def _ask_groups(self, _: str) -> Found[Groups | None]:
        try:
            async with asyncio.timeout(self._within_s):
                listed = await self._client.usergroups_list(include_users=True)
        except SlackApiError as error:
            return Found(value=None, keep_s=_again_s(error))
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("Slack did not say who is in which group", error=str(error)[:200] or "no answer")
            return Found(value=None, keep_s=AGAIN_S)
        names: dict[str, set[str]] = {}
        handles = {str(group["id"]): f"@{group.get('handle', '')}" for group in listed["usergroups"]}
        for group in listed["usergroups"]:
            called = self._wanted & {str(group["id"]), handles[str(group["id"])]}
            for user in group.get("users") or () if called else ():
                names.setdefault(str(user), set()).update(called)
        of = {user: frozenset(called) for user, called in names.items()}
        return Found(value=Groups(of=of, handles=handles), keep_s=FRESH_S)

    async def _ask_channel(self, channel: str) -> Found[str]:
        try:
            async with asyncio.timeout(self._within_s):
                found = (await self._client.conversations_info(channel=channel))["channel"]
        except SlackApiError as error:
            return Found(value="", keep_s=_again_s(error))
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("Slack did not say what a channel is called", channel=channel, error=str(error)[:200])
            return Found(value="", keep_s=AGAIN_S)
        return Found(value=str(found.get("name") or ""), keep_s=FRESH_S)


async def faults_of_groups(client: AsyncWebClient, policy: Policy) -> list[str]:
    """What is wrong with the user groups that rules name, a sentence with its cure each. Raises SlackApiError."""
    if not policy.groups:
        return []
    listed = (await client.usergroups_list(include_disabled=True))["usergroups"]
    there = {name for one in listed if not one.get("date_delete") for name in (str(one["id"]), f"@{one['handle']}")}
    gone = {name for one in listed for name in (str(one["id"]), f"@{one['handle']}")} - there
    faults = []
    for rule in policy.rules:
        for name in sorted(policy.groups.intersection(rule.who) - there):
            close = nearest(name, [one for one in there if one.startswith("@")])
            what = "is disabled in Slack" if name in gone else "is no user group in Slack"
            cure = f"did you mean `{close}`?" if close else "name one that people are in"
            faults.append(f"the rule {rule.words} names `{name}`, which {what} — {cure}")
    return faults


def _again_s(error: SlackApiError) -> float:
    """When to ask again after a refusal: when Slack says, within bounds."""
    said = str(error.response.get("error") or error.response.status_code)
    log.warning("Slack did not answer about somebody", error=said, needed=error.response.get("needed"))
    wait = str(error.response.headers.get("Retry-After", ""))
    return min(float(wait), FRESH_S) if wait.isdecimal() else AGAIN_S


def sender(body: Mapping[str, Any]) -> tuple[str, str]:
    """Who caused a payload, and the workspace that it says they are of; "" where it does not say."""
    match body:
        case {"event": {"user": str() as user, **event}}:
            return user, str(event.get("user_team") or event.get("team") or "")
        case {"user": {"id": str() as user, **rest}}:
            return user, str(rest.get("team_id") or "")
        case {"user_id": str() as user}:
            return user, str(body.get("team_id") or "")
    return "", ""

"""The dialog of a bare `/capture`: its views, what people may choose in it, and what they chose. Pure.

What is typed comes back from Slack as it is; `bot.desk` checks it anew. Ids of blocks hold the recipe, so that an answer
to one recipe's question never reaches another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bot.catalogue import TARGETS_AT_MOST
from bot.model import Offered, Parameter, ParameterType, Place, Recipe, Service, Target
from bot.recipes.parameters import MAX_VALUE_CHARACTERS
from bot.reporters.slack_buttons import MENU_AT_MOST, Block, plain
from bot.reporters.slack_message import TEXT_CHARS
from bot.slack import metadata

CAPTURE, AGREE, CHOOSE = "capture", "capture-agree", "capture-choose"  # what the submitted view was
RECIPE, TARGETS, PARAMETER, PLACE, CHOICE = "recipe", "targets", "parameter", "place", "choice"  # ids of inputs
FIRST_SET = "* "  # before a service's name where it is chosen in a recipe's place; no recipe is called so
PARAMETERS_AT_MOST = 80  # of Slack's 100 blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What stands in the dialog.

    *recipe* is what was chosen in it: a recipe's name, and a variant's after a blank; or a service's after FIRST_SET.
    """

    place: Place | None  # where it is told
    asks_place: bool = False  # that has to be chosen
    answers_at: str = ""  # the response URL of what opened the dialog
    recipe: str = ""
    targets: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """The service that was chosen, if one was."""
        return self.recipe.removeprefix(FIRST_SET) if self.recipe.startswith(FIRST_SET) else ""


# --- what can be chosen -------------------------------------------------------------------------------


def entries(recipes: Iterable[Recipe]) -> Iterator[tuple[str, Recipe]]:
    """What may be chosen as a recipe, with what it means: each variant stands for itself."""
    for recipe in recipes:
        if recipe.variants:
            yield from ((f"{recipe.name} {name}", variant) for name, variant in recipe.variants.items())
        else:
            yield recipe.name, recipe


def recipe_options(recipes: Iterable[Recipe], services: Iterable[Service], typed: str) -> list[Block]:
    """First sets of services and recipes that what was *typed* fits, those that begin with it first."""
    sets = [(f"{FIRST_SET}{service.name}", _first_set(service)) for service in services if service.first]
    found = [(value, f"{value} — {recipe.title}") for value, recipe in entries(recipes)]
    return _options([*sets, *found], typed)


def target_options(targets: Iterable[Target], typed: str) -> list[Block]:
    """Targets that what was *typed* fits, those that begin with it first."""
    return _options(((one.name, _named(one)) for one in targets), typed)


def _options(labelled: Iterable[tuple[str, str]], typed: str) -> list[Block]:
    typed = typed.strip().lower()
    fitting = [(value, label) for value, label in labelled if typed in label.lower()]
    fitting.sort(key=lambda one: not one[1].lower().startswith(typed))
    return [_option(*one) for one in fitting[:MENU_AT_MOST]]


def _first_set(service: Service) -> str:
    return f"{service.name} — first set: {', '.join(service.first)}"


def _named(target: Target) -> str:
    return f"{target.name} — {target.about}" if target.about else target.name


def _option(value: str, label: str) -> Block:
    return {"text": plain(label), "value": value}


# --- views ----------------------------------------------------------------------------------------------


def form(
    draft: Draft,
    recipe: Recipe | None,
    targets: Mapping[str, Target],
    *,
    service: Service | None = None,
    runs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    left: str = "",
) -> Block:
    """The dialog itself; *recipe* or *service* is the chosen one, *targets* are those that the recipe is for.

    *runs* are recipes of the service's first set with the targets of each, *left* says what budgets have.
    """
    chooser: Block = {
        "type": "external_select",
        "action_id": RECIPE,
        "min_query_length": 0,
        "placeholder": plain("Type to search"),
    }
    if recipe:
        chooser["initial_option"] = _option(draft.recipe, f"{draft.recipe} — {recipe.title}")
    elif service:
        chooser["initial_option"] = _option(draft.recipe, _first_set(service))
    blocks = [_input(RECIPE, "What to capture", chooser, dispatch_action=True)]
    if service:
        listed = "; ".join(f"{name} on {', '.join(names)}" for name, names in runs.items())
        blocks.append(_small(f"{f'{service.about}. ' if service.about else ''}Runs {listed}."))
    if recipe:
        blocks += _of_recipe(draft, recipe, targets)
    if draft.asks_place:
        where: Block = {
            "type": "conversations_select",
            "action_id": PLACE,
            "filter": {"include": ["public", "private"], "exclude_bot_users": True},
        }
        if draft.place:
            where["initial_conversation"] = draft.place.channel
        blocks.append(_input(PLACE, "Where it is told", where))
    if left:
        blocks.append(_small(left))
    submit = "Measure its cost" if recipe and recipe.asks_first else "Capture"
    return _view(CAPTURE, "Capture", blocks, _kept(draft), submit=submit)


def said(title: str, text: str) -> Block:
    """A view that tells something, and nothing else."""
    return _view(CAPTURE, title, [_text(text)], "")


def agreement(offered: Offered, draft: Draft) -> Block:
    """The measured cost, to be agreed to."""
    asked, submit = offered.trigger, "Ask for approval" if offered.approval else "Capture now"
    left = f" {offered.left}" if offered.left else ""
    approval = " Somebody else must approve of it too." if offered.approval else ""
    blocks = [
        _text(f"⚖️ {asked.recipe} on {', '.join(asked.targets)}: {offered.cost}."),
        _small(f"Nothing runs before you press. The cost was measured now, and holds for a while.{approval}{left}"),
    ]
    return _view(AGREE, "What it costs", blocks, _kept(draft, offered.offer_id), submit=submit)


def choice(offered: Offered, draft: Draft) -> Block:
    """The processes that match, of which one must be chosen first."""
    options = [_option(str(n), one.label) for n, one in enumerate(offered.choices[:MENU_AT_MOST])]
    chooser = {"type": "static_select", "action_id": CHOICE, "options": options}
    shown = f"The {len(options)} busiest are listed." if offered.choices_in_all > len(options) else ""
    blocks = [
        _text(f"{offered.choices_in_all} processes match. {shown}".strip()),
        _input(CHOICE, "Which one", chooser),
    ]
    return _view(CHOOSE, "Which process", blocks, _kept(draft, offered.offer_id), submit="Measure its cost")


def _of_recipe(draft: Draft, recipe: Recipe, targets: Mapping[str, Target]) -> list[Block]:
    asks = "; it is measured first, and you are asked" if recipe.asks_first else ""
    about = " ".join(recipe.about.split())
    chooser: Block = {
        "type": "multi_external_select",
        "action_id": TARGETS,
        "min_query_length": 0,
        "max_selected_items": TARGETS_AT_MOST,
        "placeholder": plain("Type to search"),
    }
    if chosen := [_option(name, _named(targets[name])) for name in draft.targets if name in targets]:
        chooser["initial_options"] = chosen
    fixed = "name" if " " in draft.recipe else ""  # the variant is chosen with the recipe
    shown = [one for one in recipe.parameters if one.name != fixed][:PARAMETERS_AT_MOST]
    return [
        _small(f"{about} Cost: {recipe.impact.words}{asks}."),
        _input(f"{TARGETS} {draft.recipe}", "Where", chooser),
        *(_parameter(draft, one) for one in shown),
    ]


def _parameter(draft: Draft, parameter: Parameter) -> Block:
    value = draft.parameters.get(parameter.name, str(parameter.default))
    element: Block = {"action_id": PARAMETER}
    if parameter.type is ParameterType.INTEGER:
        bounds = {"min_value": parameter.minimum, "max_value": parameter.maximum}
        element |= {"type": "number_input", "is_decimal_allowed": False}
        element |= {name: str(bound) for name, bound in bounds.items() if bound is not None}
    elif parameter.choices and len(parameter.choices) <= MENU_AT_MOST and all(parameter.choices):
        element |= {"type": "static_select", "options": [_option(one, one) for one in parameter.choices]}
    else:
        element |= {"type": "plain_text_input", "max_length": MAX_VALUE_CHARACTERS}
    if element["type"] != "static_select" and value not in ("", "0"):  # as a 0 that was left out says nothing
        element["initial_value"] = value
    elif value in parameter.choices:
        element["initial_option"] = _option(value, value)
    block = _input(parameter_block(draft.recipe, parameter.name), f"{parameter.about} ({parameter.name})", element)
    return {**block, "optional": True}


def _input(block_id: str, label: str, element: Block, **more: Any) -> Block:
    return {"type": "input", "block_id": block_id, "label": plain(label, 200), "element": element, **more}


def _small(text: str) -> Block:
    return {"type": "context", "elements": [plain(text, TEXT_CHARS)]}


def _text(text: str) -> Block:
    return {"type": "section", "text": plain(text, TEXT_CHARS)}


def _view(callback_id: str, title: str, blocks: list[Block], kept: str, *, submit: str = "") -> Block:
    view = {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(title, 24),
        "close": plain("Cancel" if submit else "Close"),
        "blocks": blocks,
        "private_metadata": kept,
    }
    return {**view, "submit": plain(submit)} if submit else view


# --- what comes back -------------------------------------------------------------------------------------


def parameter_block(recipe: str, name: str) -> str:
    """The block that asks for a parameter of what was chosen as *recipe*."""
    return f"{PARAMETER} {name} {recipe}"


def targets_block(recipe: str) -> str:
    """The block that asks for the targets of what was chosen as *recipe*."""
    return f"{TARGETS} {recipe}"


def recipe_of(block_id: str) -> str:
    """What was chosen as a recipe where a block asks for targets."""
    return block_id.removeprefix(f"{TARGETS} ")


def read(view: Mapping[str, Any]) -> Draft:
    """What stands in a view that Slack reports."""
    kept = metadata.read(view)
    place = kept.place
    recipe = str((_chosen(view, RECIPE, RECIPE).get("selected_option") or {}).get("value") or "")
    picked = _chosen(view, targets_block(recipe), TARGETS).get("selected_options") or []
    if kept.asks_place and (channel := _chosen(view, PLACE, PLACE).get("selected_conversation")):
        place = Place(channel=str(channel))
    name, _, variant = (recipe, "", "") if recipe.startswith(FIRST_SET) else recipe.partition(" ")
    parameters = {"name": variant} if variant else {}
    for block_id, inputs in view["state"]["values"].items():
        kind, _, rest = block_id.partition(" ")
        parameter, _, of = rest.partition(" ")
        if kind == PARAMETER and of == recipe and (value := _value(inputs.get(PARAMETER, {}))):
            parameters[parameter] = value
    return Draft(
        place=place,
        asks_place=kept.asks_place,
        answers_at=kept.answers_at,
        recipe=recipe if name else "",
        targets=tuple(str(one["value"]) for one in picked),
        parameters=parameters,
    )


def offer_of(view: Mapping[str, Any]) -> str:
    """The id of the offer that a view shows."""
    return metadata.read(view).offer


def choice_of(view: Mapping[str, Any]) -> str:
    """The place of what was chosen, in the offer's choices."""
    return str((_chosen(view, CHOICE, CHOICE).get("selected_option") or {}).get("value") or "")


def _chosen(view: Mapping[str, Any], block_id: str, action_id: str) -> Mapping[str, Any]:
    report: Mapping[str, Any] = view["state"]["values"].get(block_id, {}).get(action_id, {})
    return report


def _value(report: Mapping[str, Any]) -> str:
    return str((report.get("selected_option") or report).get("value") or "")


def _kept(draft: Draft, offer: str = "") -> str:
    return metadata.write(
        metadata.Kept(place=draft.place, asks_place=draft.asks_place, answers_at=draft.answers_at, offer=offer)
    )

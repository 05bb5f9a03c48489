"""Values that people give: matched before use, and then bound into steps, never pasted into text.

A value becomes one whole element of argv (``{name}``), one bound SQL argument (``%(name)s``) or one
environment variable of a script (``PARAM_NAME``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import re2

from bot.errors import UserError
from bot.model import Action, File, Log, Parameter, ParameterType, Passed, Recipe, Run, Script, Sql, Step
from bot.yamlfile import listed, nearest, shown

MAX_VALUE_CHARACTERS = 200

_ELEMENT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ARGUMENT = re.compile(r"%\(([a-z][a-z0-9_]*)\)s")
_VARIABLE = re.compile(r"PARAM_(?<!\wPARAM_)([A-Z][A-Z0-9_]*)\b")  # text first: that is looked for by memchr


def used(action: Action) -> frozenset[str]:
    """The names of the parameters that *action* uses, declared or not."""
    match action:
        case Run(argv=argv):
            found = [match[1] for element in argv if (match := _ELEMENT.fullmatch(element))]
        case Sql(statements=statements):
            texts = [text for each in statements for text in (each.both, each.mariadb, each.mysql) if text]
            found = [name for text in texts for name in _ARGUMENT.findall(text)]
        case Script(text=text) | File(script=Script(text=text)):
            found = [name.lower() for name in _VARIABLE.findall(text)]
        case Log():
            found = []
    return frozenset(found)


def bind(step: Step, parameters: Mapping[str, str | int]) -> Step:
    """*step* with the values of `bind_parameters` in place."""
    action = step.action
    passed = {name: _value(each, parameters) for name, each in step.passed.items()}
    given = {name: value for name, value in {**parameters, **passed}.items() if value is not None}
    names = sorted(used(action) & set(given))  # a script has a default of its own for the others
    match action:
        case Run(argv=argv):
            values = {f"{{{name}}}": str(given[name]) for name in names}
            action = Run(argv=tuple(values.get(element, element) for element in argv))
        case Sql():
            action = replace(action, arguments={name: given[name] for name in names})
        case Script():
            action = _told(action, names, given)
        case File(script=script):
            action = replace(action, script=_told(script, names, given))
        case Log():
            pass
    return replace(step, action=action, passed={})


def _value(passed: Passed, parameters: Mapping[str, str | int]) -> str | int | None:
    return passed.value if passed.source is None else parameters[passed.source]


def _told(script: Script, names: Iterable[str], parameters: Mapping[str, str | int]) -> Script:
    return replace(script, env={f"PARAM_{name.upper()}": str(parameters[name]) for name in names})


def bind_parameters(recipe: Recipe, given: Mapping[str, str]) -> dict[str, str | int]:
    """A value for each of the recipe's parameters: what was *given*, checked, else the default.

    Raises UserError that says what is allowed instead.
    """
    declared = {parameter.name: parameter for parameter in recipe.parameters}
    for name in given:
        if name not in declared:
            meant = nearest(name, declared)
            takes = f"It takes {listed(list(declared))}." if declared else "It takes no parameters."
            raise UserError(
                f"`{recipe.name}` has no parameter `{shown(name)}`.",
                cure=f"Did you mean `{meant}`?" if meant else takes,
            )
    values = {name: fit(parameter, given[name]) for name, parameter in declared.items() if name in given}
    for step in (*recipe.steps, *((recipe.cost,) if recipe.cost else ())):
        for passed in step.passed.values():
            for parameter in passed.suits if passed.source in values else ():
                fit(replace(parameter, name=passed.source), str(values[passed.source]))
    for name, value in values.items():
        if isinstance(value, str) and value.startswith("-") and reads_as_option(recipe.steps, name):
            raise UserError(
                f"`{name}` must not begin with `-`: the program would take it for an option.",
                cure=_sample(declared[name]),
            )
    return {name: values.get(name, parameter.default) for name, parameter in declared.items()}


def fit(parameter: Parameter, text: str) -> str | int:
    """*text* as *parameter* takes it. Raises UserError that says what it takes."""
    name = parameter.name
    if len(text) > MAX_VALUE_CHARACTERS:
        raise UserError(
            f"The value of `{name}` has {len(text)} characters, and {MAX_VALUE_CHARACTERS} are the most.",
            cure=_sample(parameter),
        )
    if not text.isprintable():
        raise UserError(
            f"The value of `{name}` holds a control character or an invisible one.",
            cure="Type it by hand instead of pasting it.",
        )
    if parameter.type is ParameterType.INTEGER:
        return _integer(parameter, text)
    if parameter.choices and text not in parameter.choices:
        meant = nearest(text, parameter.choices)
        raise UserError(
            f"`{name}` must be one of {listed(parameter.choices)}, not `{shown(text)}`.",
            cure=f"Did you mean `{name}={meant}`?" if meant else "",
        )
    if parameter.pattern is not None and not re2.fullmatch(parameter.pattern, text, pattern_options()):
        raise UserError(
            f"`{name}` cannot be `{shown(text)}`: it must match `{parameter.pattern}` ({parameter.about}).",
            cure=_sample(parameter),
        )
    return text


def pattern_options() -> re2.Options:
    """How patterns are read: in linear time and 1 MiB, whatever the value, and without a word on stderr."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1024 * 1024
    return options


def _integer(parameter: Parameter, text: str) -> int:
    low, high = parameter.minimum, parameter.maximum
    number = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        span = f" from {low} to {high}" if low is not None and high is not None else ""
        raise UserError(
            f"`{parameter.name}` must be a whole number{span}, not `{shown(text)}`.",
            cure=_sample(parameter),
        )
    return number


def _sample(parameter: Parameter) -> str:
    return f"For example: `{parameter.name}={parameter.default}`." if parameter.default != "" else ""


def reads_as_option(steps: Iterable[Step], name: str) -> bool:
    """A value of the parameter *name* stands where a program looks for options, not behind one or behind `--`."""
    for step in steps:
        if not isinstance(step.action, Run):
            continue
        argv = step.action.argv
        for position, element in enumerate(argv):
            match = _ELEMENT.fullmatch(element)
            if not match or (step.passed[match[1]].source if match[1] in step.passed else match[1]) != name:
                continue
            if "--" not in argv[:position] and not argv[position - 1].startswith("-"):
                return True
    return False

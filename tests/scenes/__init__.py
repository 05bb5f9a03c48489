"""Scenes: real things really broken, and the first line that the thread must then have. `make scenes` plays them.

To add one, write a file here with a function like this, or add it to the file of its family::

    @scene("full-disk", "A disk is full.", recipe="host", needs=(private_machine,))
    async def full_disk(folder: Path) -> AsyncIterator[Broken]:
        ...break it, below *folder* or in the private machine that this runs in...
        yield Broken(line=f"{folder} is full: <99..100> % of <any> used, <any> free")
        ...mend it...

It is found by being here. What a scene needs of the machine is in `tests/stage/needs.py`, programs that misbehave
under a name of their own in `culprits.py`, a database in `database.py`. A scene takes less than 20 s.
"""

from __future__ import annotations

import importlib
import json
import pkgutil

from tests.stage import Scene
from tests.stage.needs import calm


def scenes() -> dict[str, Scene]:
    """Every scene of every file here, by name; those that want a calm machine first, while it is."""
    found: dict[str, Scene] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg and module.name != "__main__":
            for thing in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
                if isinstance(thing, Scene):
                    assert thing.name not in found, f"two scenes are called {thing.name}"
                    found[thing.name] = thing
    return dict(sorted(found.items(), key=lambda item: calm not in item[1].needs))


def listing() -> str:
    """Every scene as `docs/scenes.json` has them, for the playground's page."""
    found = sorted(scenes().values(), key=lambda one: one.name)
    listed = [{"name": one.name, "recipe": one.recipe, "broken": one.broken} for one in found]
    return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"

"""What is used as a coroutine, and what is not: the marked call of each text."""

from __future__ import annotations

import pytest

from netra_repair.source import Source
from netra_repair.syntax import Syntax


def awaited(text: str) -> bool:
    """Whether the first call of `gone` in a text is awaited."""
    return Syntax.parse(Source.of("m.py", text.encode())).references(("gone",))[0].awaited


def inside(*lines: str) -> str:
    """A coroutine with some lines."""
    return "import asyncio\n\n\nasync def f(c, tasks, group, runner):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        inside("return await c.gone(1)"),
        inside("return (await (c.gone(1)))[0]"),
        "def __await__(self):\n    return self.gone().__await__()",
        inside("await asyncio.gather(c.gone(1), c.other())"),
        inside("await asyncio.gather(*[c.gone(x) for x in tasks])"),
        inside("await asyncio.gather(*(c.gone(x) for x in tasks))"),
        inside("await asyncio.wait_for(c.gone(1), timeout=3)"),
        inside("await asyncio.wait({c.gone(1)})"),
        inside("task = asyncio.create_task(c.gone(1))"),
        inside("group.create_task(c.gone(1), name='one')"),
        inside("task = c.gone(1)", "await task"),
        inside("task: object = c.gone(1)", "return await task if task else None"),
        inside("task = later = c.gone(1)", "await later"),
        inside("work = [c.gone(x) for x in tasks]", "await asyncio.gather(*work)"),
        inside("tasks.append(c.gone(1))", "await asyncio.gather(*tasks)"),
        inside("work = [c.gone(1)]", "for each in work:", "    await each"),
        inside("self.task = c.gone(1)", "await self.task"),
        inside("if (task := c.gone(1)):", "    await task"),
        inside("await (c.gone(1) if c else c.other())"),
        inside("runner.run(c.gone(1))"),
        "import asyncio\nasyncio.run(c.gone(1))\n",
        "import asyncio\nloop = asyncio.new_event_loop()\nloop.run_until_complete(c.gone(1))\n",
        "def made(c):\n    return c.gone(1)\n\n\nasync def f(c):\n    return await made(c)\n",
        "class T:\n    def made(self, c):\n        return c.gone(1)\n\n"
        "    async def f(self, c):\n        await self.made(c)\n",
    ],
)
def test_what_is_used_as_a_coroutine(text: str) -> None:
    """Awaited right there, under a name, in a collection, by the loop, or by whoever gets it returned."""
    assert awaited(text)


@pytest.mark.parametrize(
    "text",
    [
        "c.gone(1)\n",
        "import subprocess\nsubprocess.run(c.gone(1))\n# await, asyncio\n",
        inside("return c.gone(1)"),
        inside("task = c.gone(1)", "await c.other(task.name)"),
        inside("await c.other(c.gone(1))"),
        inside("await c.gone(1).other()"),
        inside("await c[c.gone(1)]"),
        inside("async with c.gone(1) as one:", "    pass"),
        inside("task = c.gone(1)", "task = c.other()", "def g(task):", "    return task"),
        "def f(c):\n    task = c.gone(1)\n    return task.name\n\n\nasync def g(task):\n    await task\n",
        "def made(c):\n    return c.gone(1)\n\n\nasync def f(c):\n    return made(c)\n",
        "def made(c):\n    made(c)\n    return c.gone(1)\n\n\nasync def f(c):\n    await c\n",
    ],
)
def test_what_is_not_used_as_a_coroutine(text: str) -> None:
    """What is passed on, read or kept without being awaited is the value itself."""
    assert not awaited(text)

"""The files that a drifted suite is made of, as people write them. `tests.support.drifted_suite` fills them in.

Words with a dollar sign are filled in per file: `$noun`, `$user`, `$other`, `$thread` and `$run` are drawn; `$context`
is the line that imports the class. Four stand for the name `create_for_user` and keep its place: `$gone` is called with
the three keywords, `$posit` with positions, `$misfit` with keywords that no factory has, `$right` on another class.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One way to write a file.

    Attributes:
        text: the file.
        times: how many files look like this.
        broken: node names of the tests that die of the missing method, for each file.
        misfit: node names of those that no rename can mend.
        body: what follows the text several times, with `$n` counting.
        repeats: how often.
        path: where it lies, for the files that have a name of their own.
        encoding: of the file.
        newline: "\\n", "\\r\\n", or "mixed".
        hides: whether the file cannot be collected before the fix.
    """

    text: str
    times: int = 1
    broken: str = ""
    misfit: str = ""
    body: str = ""
    repeats: int = 0
    path: str = ""
    encoding: str = "utf-8"
    newline: str = "\n"
    hides: bool = False


CONTEXT_IMPORT = "from netra_backend.app.services.user_execution_context import UserExecutionContext"

DRIFTED = (
    Shape(
        times=5,
        broken="test_a_${noun}_has_an_owner",
        text='''"""Whose $noun it is."""

$context


def test_a_${noun}_has_an_owner():
    context = UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    assert (context.user_id, context.thread_id, context.run_id) == ("$user", "$thread", "$run")
    assert context.is_valid()
''',
    ),
    Shape(
        times=9,
        broken="test_two_users_share_no_${noun}",
        text='''"""Two users and one $noun each, made with create_for_user."""

$context


def test_two_users_share_no_${noun}():
    first = UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    second = UserExecutionContext.$gone(user_id="$other", thread_id="$thread-2", run_id="$run-2")
    assert first.get_context_key() != second.get_context_key()
    assert first.get_scoped_key("$noun") != second.get_scoped_key("$noun")
''',
    ),
    Shape(
        times=4,
        broken="TestOwner::test_user TestOwner::test_valid TestOwner::test_child",
        text="""$context


class TestOwner:
    def setup_method(self):
        self.context = UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")

    def test_user(self):
        assert self.context.user_id == "$user"

    def test_valid(self):
        assert self.context.is_valid() and self.context.verify_isolation()

    def test_child(self):
        assert self.context.create_child_context("$noun").parent_request_id == self.context.request_id
""",
    ),
    Shape(
        times=3,
        broken="OwnerTest::test_trail OwnerTest::test_key",
        text="""import unittest

$context


class OwnerTest(unittest.TestCase):
    def setUp(self):
        user_id = "$user"
        self.context = UserExecutionContext.$gone(user_id=user_id, thread_id=f"{user_id}-t", run_id=f"{user_id}-r")

    def test_trail(self):
        self.assertEqual(self.context.get_audit_trail()["user_id"], "$user")

    def test_key(self):
        self.assertIn("$user", self.context.get_context_key())


if __name__ == "__main__":
    unittest.main()
""",
    ),
    Shape(
        times=4,
        broken="test_${noun}_is_bound test_${noun}_is_read_only",
        text="""import dataclasses

import pytest

from netra_backend.app.services.user_execution_context import UserExecutionContext, current


@pytest.fixture
def context():
    yield UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")


def test_${noun}_is_bound(context):
    with context.bind():
        assert current() is context


def test_${noun}_is_read_only(context):
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.user_id = "$other"


def test_${noun}_needs_no_context():
    assert len("$noun") > 1
""",
    ),
    Shape(
        times=4,
        broken="test_${noun}_in_a_task",
        text="""import asyncio

from netra_backend.app.services.user_execution_context import UserExecutionContext, current


async def _owner_of_$noun():
    with UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run").bind():
        await asyncio.sleep(0)
        return current().user_id


def test_${noun}_in_a_task():
    assert asyncio.run(_owner_of_$noun()) == "$user"
""",
    ),
    Shape(
        times=3,
        broken="test_every_user_gets_the_right_${noun}",
        text="""import asyncio

from netra_backend.app.services.user_execution_context import UserExecutionContext, managed_user_context


async def _served(number):
    context = UserExecutionContext.$gone(
        user_id=f"$user-{number}", thread_id=f"$thread-{number}", run_id=f"$run-{number}"
    )
    async with managed_user_context(context) as managed:
        await asyncio.sleep(0)
        return managed.user_id


async def _all():
    return await asyncio.gather(*[_served(number) for number in range(20)])


def test_every_user_gets_the_right_${noun}():
    assert asyncio.run(_all()) == [f"$user-{number}" for number in range(20)]
""",
    ),
    Shape(
        times=3,
        broken="test_${noun}_of[$user] test_${noun}_of[$other]",
        text="""import pytest

$context


@pytest.mark.parametrize("user_id", ["$user", "$other"])
def test_${noun}_of(user_id):
    assert UserExecutionContext.$gone(user_id=user_id, thread_id="$thread", run_id="$run").user_id == user_id
""",
    ),
    Shape(
        times=2,
        broken="test_${noun}_over_many_lines",
        text="""$context


def test_${noun}_over_many_lines():
    context = (
        UserExecutionContext  # the class
        . $gone (  # the factory: create_for_user
            user_id="$user",  # whose it is
            thread_id="$thread",
            # the run is that of the $noun
            run_id="$run",
        )
    )
    assert context.to_dict()["run_id"] == "$run"
""",
    ),
    Shape(
        times=3,
        broken="test_${noun}_by_another_name",
        text="""from netra_backend.app.services.user_execution_context import UserExecutionContext as UEC


def test_${noun}_by_another_name() -> None:
    context = UEC.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    assert isinstance(context, UEC)
""",
    ),
    Shape(
        broken="test_${noun}_of_a_module",
        text="""import netra_backend.app.services.user_execution_context as uec


def test_${noun}_of_a_module():
    context = uec.UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    assert uec.validate_user_context(context) is context
""",
    ),
    Shape(
        broken="test_${noun}_by_its_whole_name",
        text="""import netra_backend.app.services.user_execution_context


def test_${noun}_by_its_whole_name():
    context = netra_backend.app.services.user_execution_context.UserExecutionContext.$gone(
        user_id="$user", thread_id="$thread", run_id="$run"
    )
    assert context.user_id == "$user"
""",
    ),
    Shape(
        broken="test_${noun}_wherever_the_class_is",
        text="""try:
    from netra_backend.app.services.user_execution_context import UserExecutionContext as Context
except ImportError:  # before the move
    from netra_backend.app.context import UserExecutionContext as Context


def test_${noun}_wherever_the_class_is():
    assert Context.$gone(user_id="$user", thread_id="$thread", run_id="$run").run_id == "$run"
""",
    ),
    Shape(
        times=2,
        broken="test_${noun}_of_a_worker",
        text="""from atlas.workers import WorkerContext


def test_${noun}_of_a_worker():
    context = WorkerContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    assert type(context) is WorkerContext and context.queue == "$user-work"
""",
    ),
    Shape(
        broken="test_${noun}_of_a_local_kind",
        text="""$context


class Context(UserExecutionContext):
    __slots__ = ()


def test_${noun}_of_a_local_kind():
    assert type(Context.$gone(user_id="$user", thread_id="$thread", run_id="$run")) is Context
""",
    ),
    Shape(
        broken="test_${noun}_quickly",
        text="""$context


class QuickContext(UserExecutionContext):
    __slots__ = ()

    @classmethod
    def quick(cls, user_id: str) -> "QuickContext":
        return cls.$gone(user_id=user_id, thread_id=f"{user_id}-t", run_id=f"{user_id}-r")


def test_${noun}_quickly():
    assert QuickContext.quick("$user").thread_id == "$user-t"
""",
    ),
    Shape(
        broken="test_${noun}_of_the_chosen_class",
        text="""$context

CONTEXT_CLASS = UserExecutionContext


def test_${noun}_of_the_chosen_class():
    kind = CONTEXT_CLASS
    assert kind.$gone(user_id="$user", thread_id="$thread", run_id="$run").is_valid()
""",
    ),
    Shape(
        times=2,
        broken="test_${noun}_of_a_given_class",
        text="""$context


def made(kind: type[UserExecutionContext], user_id: str) -> UserExecutionContext:
    return kind.$gone(user_id=user_id, thread_id="$thread", run_id="$run")


def test_${noun}_of_a_given_class():
    assert made(UserExecutionContext, "$user").user_id == "$user"
""",
    ),
    Shape(
        broken="TestKind::test_made",
        text="""$context


class TestKind:
    context_class = UserExecutionContext

    def test_made(self):
        context = self.context_class.$gone(user_id="$user", thread_id="$thread", run_id="$run")
        assert context.user_id == "$user"
""",
    ),
    Shape(
        broken="test_${noun}_of_a_table",
        text="""from atlas.workers import WorkerContext
$context

KINDS = {"user": UserExecutionContext, "person": UserExecutionContext}


def test_${noun}_of_a_table():
    assert KINDS["user"].$gone(user_id="$user", thread_id="$thread", run_id="$run").user_id == "$user"
    assert issubclass(WorkerContext, KINDS["person"])
""",
    ),
    Shape(
        broken="test_${noun}_of_a_context",
        text="""$context


def test_${noun}_of_a_context():
    parent = UserExecutionContext(user_id="$user", thread_id="$thread", run_id="$run")
    other = parent.$gone(user_id=parent.user_id, thread_id=parent.thread_id, run_id="$run-2")
    assert other.run_id != parent.run_id
""",
    ),
    Shape(
        newline="\r\n",
        broken="test_${noun}_from_windows test_${noun}_from_windows_again",
        text="""$context


def test_${noun}_from_windows():
    context = UserExecutionContext.$gone(
        user_id="$user",
        thread_id="$thread",
        run_id="$run",
    )
    assert context.user_id == "$user"


def test_${noun}_from_windows_again():
    assert UserExecutionContext.$gone(user_id="$other", thread_id="$thread", run_id="$run").user_id == "$other"
""",
    ),
    Shape(
        encoding="utf-8-sig",
        broken="test_${noun}_behind_a_mark",
        text="""$context


def test_${noun}_behind_a_mark():
    assert UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run").user_id == "$user"
""",
    ),
    Shape(
        encoding="latin-1",
        broken="test_${noun}_in_another_code",
        text='''# -*- coding: latin-1 -*-
"""Ein Schlüssel für Müller."""

$context


def test_${noun}_in_another_code():
    names = ["Müller", UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run").user_id]
    assert names == ["M\xfcller", "$user"]
''',
    ),
    Shape(
        newline="mixed",
        broken="test_${noun}_of_many_editors",
        text="""$context
\x0c

def test_${noun}_of_many_editors():
\tcontext = UserExecutionContext.$gone(user_id="$user",
\t\tthread_id="$thread",
\t\trun_id="$run")
\tassert context.is_valid()""",
    ),
    Shape(
        broken="test_${noun}_of_everybody",
        text="""$context


def test_${noun}_of_everybody():
    owners = {"Zoë 🦊": UserExecutionContext.$gone(user_id="Zoë-🦊", thread_id="$thread", run_id="$run")}
    assert owners["Zoë 🦊"].user_id == "Zoë-🦊"
""",
    ),
    Shape(
        broken="test_${noun}_in_a_text",
        text="""$context


def test_${noun}_in_a_text():
    text = f"é {UserExecutionContext.$gone(user_id='$user', thread_id='$thread', run_id='$run').user_id} owns it"
    assert text == "é $user owns it"
""",
    ),
    Shape(
        broken="test_${noun}_in_itself",
        text="""$context


def test_${noun}_in_itself():
    context = UserExecutionContext.$gone(
        user_id=UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run").user_id,
        thread_id="$thread",
        run_id="$run",
    )
    assert context.user_id == "$user"
""",
    ),
    Shape(
        broken="test_${noun}_as_an_argument",
        text="""import netra_backend.app.services.user_execution_context as contexts
$context


def test_${noun}_as_an_argument():
    assert contexts.validate_user_context(
        UserExecutionContext.$gone(user_id=str("$user"), thread_id="-".join(["$thread", "1"]), run_id="$run"),
    ).thread_id == "$thread-1"
""",
    ),
    Shape(
        broken="test_${noun}_that_was_silenced",
        text="""$context


def test_${noun}_that_was_silenced() -> None:
    context = UserExecutionContext.$gone(  # type: ignore[attr-defined]
        user_id="$user", thread_id="$thread", run_id="$run"
    )
    assert context.user_id == "$user"
""",
    ),
    Shape(
        times=2,
        hides=True,
        broken="test_${noun}_is_there test_${noun}_is_valid",
        text="""$context

CONTEXT = UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")


def test_${noun}_is_there():
    assert CONTEXT.user_id == "$user"


def test_${noun}_is_valid():
    assert CONTEXT.is_valid()
""",
    ),
    Shape(
        broken="test_many_${noun} test_later_${noun}",
        text="""$context


def test_many_${noun}():
    contexts = [
        UserExecutionContext.$gone(user_id=user_id, thread_id="$thread", run_id="$run")
        for user_id in ("$user", "$other")
    ]
    assert len({context.get_context_key() for context in contexts}) == 2


def test_later_${noun}():
    later = [lambda user_id: UserExecutionContext.$gone(user_id=user_id, thread_id="$thread", run_id="$run")]
    assert later[0]("$user").user_id == "$user"
""",
    ),
    Shape(
        times=4,
        broken="test_${noun}_of_three",
        text="""$context


def test_${noun}_of_three():
    ann = UserExecutionContext.$gone(user_id="ann-$user", thread_id="$thread", run_id="$run")
    bob = UserExecutionContext.$gone(user_id="bob-$user", thread_id="$thread", run_id="$run")
    cyd = UserExecutionContext.$gone(user_id="cyd-$user", thread_id="$thread", run_id="$run")
    assert len({ann.get_scoped_key("$noun"), bob.get_scoped_key("$noun"), cyd.get_scoped_key("$noun")}) == 3
""",
    ),
    Shape(
        broken="test_${noun}_side_by_side",
        text="""$context


def test_${noun}_side_by_side():
    a, b = (UserExecutionContext.$gone(user_id=u, thread_id="t-1", run_id="r-1") for u in ("$user", "$other")); \
c = UserExecutionContext.$gone(user_id="$user", thread_id="t-1", run_id="r-1")
    assert a.get_scoped_key("$noun") == c.get_scoped_key("$noun") != b.get_scoped_key("$noun")
""",
    ),
    Shape(
        broken="test_${noun}_that_fails_at_length",
        text="""$context


def _opened(user_id):
    try:
        return UserExecutionContext.$gone(user_id=user_id, thread_id="$thread", run_id="$run")
    except Exception as error:
        raise RuntimeError(f"no context for {user_id}") from error


def test_${noun}_that_fails_at_length():
    assert _opened("$user").user_id == "$user"
""",
    ),
    Shape(
        broken="test_${noun}_by_position",
        text="""$context


def test_${noun}_by_position():
    user_id, thread_id, run_id = "$user", "$thread", "$run"
    assert UserExecutionContext.$posit(user_id, thread_id, run_id).run_id == run_id
""",
    ),
    Shape(
        broken="test_${noun}_by_position test_${noun}_by_literals",
        text="""$context


def test_${noun}_by_position():
    assert UserExecutionContext.$posit("$user", "$thread", "$run").user_id == "$user"


def test_${noun}_by_literals():
    context = UserExecutionContext.$posit(
        "$user",
        "$thread",  # a thread
        "$run",
    )
    assert context.thread_id == "$thread"
""",
    ),
    Shape(
        broken="test_${noun}_of_a_user",
        misfit="test_${noun}_of_a_tenant",
        text="""$context


def test_${noun}_of_a_user():
    assert UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run").user_id == "$user"


def test_${noun}_of_a_tenant():
    assert UserExecutionContext.$misfit(user_id="$user", tenant="$other", session="$thread").user_id == "$user"
""",
    ),
    Shape(
        times=10,
        broken="test_a_session_for_the_${noun}",
        text="""from atlas.accounts import Accounts
from atlas.sessions import SessionStore
$context


def test_a_session_for_the_${noun}():
    context = UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
    session = SessionStore.$right(user_id=context.user_id, thread_id=context.thread_id, run_id=context.run_id)
    assert session.owner == context.user_id


def test_sessions_and_accounts(store):
    assert SessionStore.$right(user_id="$user", thread_id="$thread", run_id="$run").owner == "$user"
    assert store.$right(user_id="$user", thread_id="$thread", run_id="$run").owner == "$user"
    assert Accounts().$right("$other").owner == "$other"


def test_sessions_of_the_${noun}(store):
    opened = [store.$right(user_id="$user", thread_id="$thread", run_id="$run"), store.$right("a", "b", "c")]
    assert [session.owner for session in opened] == ["$user", "a"]
""",
    ),
    Shape(
        path="tests/api/conftest.py",
        text='''"""What the tests of the routes have in common."""

import pytest

$context


@pytest.fixture
def context():
    """A context made with create_for_user."""
    return UserExecutionContext.$gone(user_id="$user", thread_id="$thread", run_id="$run")
''',
    ),
    Shape(
        path="tests/support/contexts.py",
        text='''"""Contexts for tests that do not care which."""

$context


def make_context(user_id: str = "$user") -> UserExecutionContext:
    return UserExecutionContext.$gone(user_id=user_id, thread_id=f"{user_id}-t", run_id=f"{user_id}-r")
''',
    ),
)
"""The files that call the missing method."""

FAN_OUT = (
    Shape(
        times=4,
        path="tests/api/test_${noun}_route.py",
        broken="test_${noun}_is_listed test_${noun}_is_shown test_${noun}_is_made",
        text="""def test_${noun}_is_listed(context):
    assert context.user_id


def test_${noun}_is_shown(context):
    assert context.is_valid()


def test_${noun}_is_made(context):
    assert context.create_child_context("$noun").operation_depth == 1


def test_${noun}_is_public():
    assert "$noun".islower()
""",
    ),
    Shape(
        times=4,
        broken="test_${noun}_of_a_helper test_${noun}_of_two",
        text="""from tests.support.contexts import make_context


def test_${noun}_of_a_helper():
    assert make_context().is_valid()


def test_${noun}_of_two():
    assert make_context("$user").get_context_key() != make_context("$other").get_context_key()
""",
    ),
)
"""The files whose tests fail though they do not name the method."""

RIGHT = (
    Shape(
        times=5,
        text="from atlas.sessions import SessionStore\n",
        repeats=4,
        body="""

def test_${noun}_$n():
    first = SessionStore.$right(user_id="$user", thread_id="$thread", run_id="$run-$n")
    second = SessionStore.$right(user_id="$other", thread_id="$thread", run_id="$run-$n")
    assert first.owner != second.owner
    assert SessionStore.$right("$user", "$thread", "$run") == SessionStore.$right("$user", "$thread", "$run")
""",
    ),
    Shape(
        times=5,
        text='"""Stores that nobody gave a type."""\n',
        repeats=4,
        body="""

def test_${noun}_$n(store):
    assert store.$right(user_id="$user", thread_id="$thread", run_id="$run-$n").owner == "$user"
    for each in (store, store):
        assert each.$right(user_id="$other", thread_id="$thread", run_id="$run").owner == "$other"


def _opened_$n(store, user_id):
    return store.$right(user_id=user_id, thread_id="$thread", run_id="$run-$n")


def test_opened_$n(store):
    assert [_opened_$n(each, "$user").owner for each in (store, type(store))] == ["$user"] * 2
    assert store.$right("$user", "$thread", "$run").owner == "$user"
""",
    ),
    Shape(
        times=5,
        text='"""The old context, which has the same name and does have the method."""\n\n'
        "from atlas.legacy import UserExecutionContext\n",
        repeats=4,
        body="""

def test_${noun}_$n():
    context = UserExecutionContext.$right(user_id="$user", thread_id="$thread", run_id="$run-$n")
    assert context.owner == "$user"
    other = UserExecutionContext.$right(user_id="$other", thread_id="$thread", run_id="$run-$n")
    assert other != context
    assert [UserExecutionContext.$right(user_id=u, thread_id="t-1", run_id="r-1").owner for u in "ab"] == ["a", "b"]
    assert context.$right(user_id="$other", thread_id="$thread", run_id="$run").owner == "$other"
""",
    ),
    Shape(
        times=5,
        text="from atlas.accounts import Accounts, Quota\n\n\nclass TestAccounts:\n"
        "    def setup_method(self):\n        self.accounts = Accounts()\n",
        repeats=4,
        body="""
    def test_${noun}_$n(self):
        assert self.accounts.$right("$user").owner == "$user"
        assert self.accounts.$right(user_id="$other", plan="team").plan == "team"
        assert Accounts().$right("$user") in [self.accounts.$right("$user")]
""",
    ),
    Shape(
        times=5,
        text="from atlas.accounts import Quota\nfrom atlas.sessions import RedisSessionStore\n",
        repeats=4,
        body="""

def test_${noun}_$n():
    session = RedisSessionStore.$right(user_id="$user", thread_id="$thread", run_id="$run-$n")
    assert session == RedisSessionStore().$right(user_id="$user", thread_id="$thread", run_id="$run-$n")
    assert Quota.$right("$user") == Quota.$right(user_id="$other")
""",
    ),
    Shape(
        times=5,
        text="""from unittest.mock import MagicMock, Mock


class $Noun:
    @classmethod
    def create_for_user(cls, user_id, thread_id, run_id):
        return cls, user_id
""",
        repeats=4,
        body="""

def test_${noun}_$n():
    store = Mock()
    store.$right(user_id="$user", thread_id="$thread", run_id="$run-$n")
    store.create_for_user.assert_called_once_with(user_id="$user", thread_id="$thread", run_id="$run-$n")
    assert MagicMock().$right(user_id="$user", thread_id="$thread", run_id="$run") is not None
    assert $Noun.$right(user_id="$user", thread_id="$thread", run_id="$run-$n") == ($Noun, "$user")
    assert $Noun().$right("$user", "$thread", "$run") == ($Noun, "$user")
""",
    ),
    Shape(
        times=5,
        text="from atlas.sessions import SessionStore, Stores\n\n\n"
        "def _session(stores: Stores, user_id: str, run_id: str):\n"
        "    return stores.$right(user_id=user_id, thread_id='$thread', run_id=run_id)\n",
        repeats=5,
        body="""

def test_${noun}_$n():
    assert _session(SessionStore(), "$user", "$run-$n").owner == "$user"
    kinds = {"sessions": SessionStore}
    assert kinds["sessions"].$right(user_id="$user", thread_id="$thread", run_id="$run-$n").owner == "$user"
    made = SessionStore.$right(
        user_id="$other",
        thread_id="$thread",  # create_for_user of the store
        run_id="$run",
    )
    assert made.owner == "$other"
    assert SessionStore().$right("$user", "$thread", "$run").owner == "$user"
""",
    ),
    Shape(
        times=5,
        text='"""Stores out of a table that nobody gave a type."""\n\nfrom atlas.registry import registered\n',
        repeats=4,
        body="""

def test_${noun}_$n():
    stores = registered()
    assert stores["sessions"].$right(user_id="$user", thread_id="$thread", run_id="$run-$n").owner == "$user"
    assert registered()["accounts"].$right(user_id="$user").owner == "$user"
    for name in stores:
        assert stores[name].$right("$user", *(["$thread", "$run"] if name == "sessions" else [])).owner == "$user"
    assert (lambda store: store.$right("$user", "$thread", "$run"))(stores["sessions"]).owner == "$user"
""",
    ),
)
"""The files that call a method of the same name on other classes, rightly."""

MIGRATED = (
    Shape(
        times=8,
        text="""$context


def test_${noun}_has_an_owner():
    context = UserExecutionContext.from_request(user_id="$user", thread_id="$thread", run_id="$run")
    assert context.user_id == "$user"


def test_${noun}_is_isolated():
    context = UserExecutionContext.from_request(user_id="$other", thread_id="$thread", run_id="$run")
    assert context.verify_isolation()
""",
    ),
    Shape(
        times=4,
        text="""from netra_backend.app.services.user_execution_context import UserExecutionContext as Context


def test_${noun}_is_valid():
    assert Context.from_request(
        user_id="$user",
        thread_id="$thread",
        run_id="$run",
    ).is_valid()
""",
    ),
)
"""The files that say already what the others mean. Without them three factories tie."""

ABSENCE = (
    Shape(
        path="tests/unit/test_factories.py",
        text='''"""The factories that there are, and the one that there is not."""

import pytest

$context


def test_create_for_user_is_absent():
    assert not hasattr(UserExecutionContext, "create_for_user")


def test_a_call_of_it_fails():
    with pytest.raises(AttributeError, match="create_for_user"):
        UserExecutionContext.create_for_user(user_id="$user", thread_id="$thread", run_id="$run")
''',
    ),
    Shape(
        path="tests/integration/test_factories_of_subclasses.py",
        text="""import unittest

from atlas.workers import WorkerContext
$context


class AbsenceTest(unittest.TestCase):
    def test_absent(self):
        self.assertFalse(hasattr(WorkerContext, "create_for_user"))
        self.assertIsNone(getattr(UserExecutionContext, "create_for_user", None))

    def test_call(self):
        with self.assertRaises(AttributeError):
            WorkerContext.create_for_user(user_id="$user", thread_id="$thread", run_id="$run")
""",
    ),
)
"""The files that assert that the method is absent. Nothing in them may change."""

TALK = (
    Shape(
        path="tests/unit/test_patched_factory.py",
        text='''"""A plugin would add create_for_user."""

from unittest import mock

$context

TARGET = "netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user"


def test_a_plugin_may_add_it():
    target = "netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user"
    with mock.patch(target, create=True):
        assert hasattr(UserExecutionContext, "create_for_user")
    with mock.patch(
        "netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user", create=True
    ) as made:
        assert made.call_count == 0


def test_its_name():
    assert TARGET.endswith(".create_for_user")
    assert "UserExecutionContext.create_for_user(user_id=...)" != TARGET
''',
    ),
    Shape(
        path="docs/testing.md",
        text="""# Testing

Make a context with `UserExecutionContext.create_for_user(user_id=..., thread_id=..., run_id=...)`.

```python
context = UserExecutionContext.create_for_user(user_id="$user", thread_id="$thread", run_id="$run")
```
""",
    ),
    Shape(path="README.md", text="# Atlas\n\nSessions come from `SessionStore.create_for_user`.\n"),
    Shape(
        path="tests/golden/contexts.yaml",
        text="factory: netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user\n",
    ),
)
"""The files that only speak of it."""

PROJECT = (
    Shape(
        path="pyproject.toml",
        text="""[project]
name = "atlas"
version = "1.0"
requires-python = ">=3.11"

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--assert=plain"]
pythonpath = ["."]
testpaths = ["tests"]
""",
    ),
    Shape(path="atlas/__init__.py", text=""),
    Shape(path="tests/__init__.py", text=""),
    Shape(path="tests/support/__init__.py", text=""),
    Shape(
        path="tests/conftest.py",
        text='''"""What all tests have in common."""

import pytest

from atlas.sessions import SessionStore


@pytest.fixture
def store():
    return SessionStore()
''',
    ),
    Shape(
        path="atlas/workers.py",
        text='''"""Contexts of workers."""

$context


class WorkerContext(UserExecutionContext):
    """A context that knows its queue."""

    __slots__ = ()

    @property
    def queue(self) -> str:
        """Where its work waits."""
        return f"{self.user_id}-work"
''',
    ),
    Shape(
        path="atlas/sessions.py",
        text='''"""Sessions of users."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Session:
    """Whose session it is, and for what."""

    owner: str
    thread: str
    run: str


class Stores(Protocol):
    """Whatever opens sessions."""

    def create_for_user(self, user_id: str, thread_id: str, run_id: str) -> Session:
        """Open a session."""
        ...


class SessionStore:
    """Opens sessions."""

    @classmethod
    def create_for_user(cls, user_id: str, thread_id: str, run_id: str) -> Session:
        """Open a session."""
        return Session(user_id, thread_id, run_id)


class RedisSessionStore(SessionStore):
    """Opens them elsewhere."""
''',
    ),
    Shape(
        path="atlas/accounts.py",
        text='''"""Accounts of users."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Whose account it is, and which."""

    owner: str
    plan: str


class Accounts:
    """Makes accounts."""

    def create_for_user(self, user_id: str, plan: str = "free") -> Account:
        """Make one."""
        return Account(user_id, plan)


class Quota:
    """What an account may use."""

    @staticmethod
    def create_for_user(user_id: str) -> int:
        """Tell it."""
        return 100 if user_id else 0
''',
    ),
    Shape(
        path="atlas/legacy.py",
        text='''"""The context as it was before, under the same name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UserExecutionContext:
    """Does have the method."""

    owner: str
    thread: str
    run: str

    @classmethod
    def create_for_user(cls, user_id: str, thread_id: str, run_id: str) -> "UserExecutionContext":
        """Make one."""
        return cls(user_id, thread_id, run_id)
''',
    ),
    Shape(
        path="atlas/registry.py",
        text='''"""Whatever registered itself."""

from atlas.accounts import Accounts
from atlas.sessions import SessionStore

_REGISTERED = {}


def register(name, thing):
    """Remember a thing by its name."""
    _REGISTERED[name] = thing


def registered():
    """Everything that registered itself."""
    return dict(_REGISTERED)


register("sessions", SessionStore())
register("accounts", Accounts())
''',
    ),
)
"""The project around the tests, beside the class."""

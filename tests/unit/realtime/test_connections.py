"""The register of live connections: its limits, and ending connections from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.realtime.connections import Connections
from netra_backend.app.services.principal import Principal
from netra_backend.app.services.refusals import LimitExceededError


@dataclass(eq=False)
class Line:
    """A connection that remembers how it was ended, and leaves the register then, as connections do."""

    principal: Principal | None
    register: Connections
    closed: list[tuple[int, str]] = field(default_factory=list)

    def close(self, code: int, reason: str) -> None:
        """See `LiveConnection.close`."""
        self.closed.append((code, reason))
        if self.principal is not None:
            self.register.remove(self.principal.user_id, self)


def line(register: Connections, user_id: str, session_id: str = "s") -> Line:
    """A registered connection of a sign-in."""
    connection = Line(Principal(user_id, session_id, datetime(2030, 1, 1, tzinfo=UTC)), register)
    register.add(user_id, connection)
    return connection


def test_a_user_has_a_limit_of_its_own() -> None:
    """One user's connections end at the limit and take nothing from another's."""
    register = Connections(limit=10, limit_per_user=2)
    first = line(register, "ann")
    line(register, "ann")
    with pytest.raises(LimitExceededError, match="you have 2 connections already; close one first") as caught:
        line(register, "ann")
    assert caught.value.retry_after is None
    line(register, "bob")
    assert register.count == 3
    register.remove("ann", first)
    line(register, "ann")
    assert register.count == 3


def test_the_server_has_a_limit() -> None:
    """When all places are taken the next one is told to come later, and is not registered."""
    register = Connections(limit=2, limit_per_user=2)
    lines = [line(register, "ann"), line(register, "bob")]
    with pytest.raises(LimitExceededError, match="try again in 5 s") as caught:
        line(register, "eve")
    assert caught.value.retry_after == 5
    assert register.count == 2
    register.close_user("eve")
    assert [each.closed for each in lines] == [[], []]


def test_one_that_is_not_registered_is_left_alone() -> None:
    """Removing twice, or under another user's name, changes nothing."""
    register = Connections(limit=2, limit_per_user=2)
    registered = line(register, "ann")
    register.remove("bob", registered)
    register.remove("ann", Line(None, register))
    assert register.count == 1
    register.remove("ann", registered)
    register.remove("ann", registered)
    assert register.count == 0


def test_the_end_of_a_sign_in_ends_its_connections_only() -> None:
    """`close_session` ends those of one sign-in of one user; an equal session id of another user is another sign-in."""
    register = Connections(limit=10, limit_per_user=5)
    ended = [line(register, "ann", "s1"), line(register, "ann", "s1")]
    others = [line(register, "ann", "s2"), line(register, "bob", "s1")]
    register.close_session("ann", "s1")
    register.close_session("nobody", "s1")
    assert [each.closed for each in ended] == [[(4401, "signed out")]] * 2
    assert [each.closed for each in others] == [[], []]
    assert register.count == 2


def test_the_session_of_a_connection_is_the_one_it_has_now() -> None:
    """A connection that was renewed under another sign-in ends with that one."""
    register = Connections(limit=10, limit_per_user=5)
    renewed = line(register, "ann", "s1")
    renewed.principal = Principal("ann", "s2", datetime(2030, 1, 1, tzinfo=UTC))
    register.close_session("ann", "s1")
    assert renewed.closed == []
    register.close_session("ann", "s2")
    assert renewed.closed == [(4401, "signed out")]


def test_signing_out_everywhere_ends_all_of_a_user() -> None:
    """`close_user` ends every connection of the user and no other."""
    register = Connections(limit=10, limit_per_user=5)
    own = [line(register, "ann", "s1"), line(register, "ann", "s2")]
    other = line(register, "bob")
    register.close_user("ann")
    assert [each.closed for each in own] == [[(4401, "signed out everywhere")]] * 2
    assert other.closed == []


def test_going_away_ends_everybody() -> None:
    """`close_all` ends every connection once, with 1012."""
    register = Connections(limit=10, limit_per_user=5)
    lines = [line(register, user) for user in ("ann", "ann", "bob")]
    register.close_all()
    assert [[code for code, _ in each.closed] for each in lines] == [[1012]] * 3
    assert register.count == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.booleans()), max_size=60))
def test_the_count_is_right_whatever_comes_and_goes(steps: list[tuple[str, int, bool]]) -> None:
    """Against a plain set: the register holds who was let in and has not left, within both limits."""
    register = Connections(limit=4, limit_per_user=3)
    lines = {(user, number): Line(None, register) for user in "ab" for number in range(4)}
    model: set[tuple[str, int]] = set()
    for user, number, comes in steps:
        if not comes:
            register.remove(user, lines[user, number])
            model.discard((user, number))
        elif (user, number) not in model:
            if len(model) < 4 and sum(name == user for name, _ in model) < 3:
                register.add(user, lines[user, number])
                model.add((user, number))
            else:
                with pytest.raises(LimitExceededError):
                    register.add(user, lines[user, number])
        assert register.count == len(model)

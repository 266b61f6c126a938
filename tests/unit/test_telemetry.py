"""Logs carry the ids of the context they were written under; each server counts for itself."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netra_backend.app.services.agent_events import EventType
from netra_backend.app.telemetry import Metrics, SecurityEvent, configure_logging, tell_security_event
from tests.support.made_contexts import make_context
from tests.support.memory_desk import log_entry

IDS = ("user_id", "thread_id", "run_id", "request_id")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the logs write; the process' logging is restored after."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    configure_logging("INFO")
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(text: io.StringIO) -> list[dict[str, Any]]:
    """The lines, each of which must be one JSON object."""
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_a_line_carries_the_ids_of_the_bound_context(written: io.StringIO) -> None:
    """A line written under a context has its four ids, and one written under none has none."""
    context = make_context("ann")
    logger = logging.getLogger("netra.test")
    with context.bind():
        logger.info("inside %s", "words")
    logger.warning("outside")
    inside, outside = lines(written)
    assert {name: inside[name] for name in IDS} == {name: getattr(context, name) for name in IDS}
    assert (inside["event"], inside["level"], inside["logger"]) == ("inside words", "info", "netra.test")
    assert inside["timestamp"].endswith("Z")
    assert not set(IDS) & set(outside)
    assert outside["level"] == "warning"


def test_a_child_contexts_line_carries_the_childs_request(written: io.StringIO) -> None:
    """The innermost context counts, and the outer one again after it."""
    context = make_context("ann")
    child = context.create_child_context("data")
    with context.bind():
        with child.bind():
            logging.info("inner")
        logging.info("outer")
    assert [line["request_id"] for line in lines(written)] == [child.request_id, context.request_id]


async def test_lines_of_many_users_do_not_mix(written: io.StringIO) -> None:
    """Tasks and threads of many users at once each log their own ids."""

    async def work(user_id: str) -> None:
        with make_context(user_id).bind():
            for _ in range(3):
                await asyncio.sleep(0)
                logging.info(user_id)
            await asyncio.to_thread(logging.info, user_id)

    users = [f"user-{number}" for number in range(10)]
    await asyncio.gather(*(asyncio.create_task(work(user)) for user in users))
    found = lines(written)
    assert len(found) == 40
    assert all(line["user_id"] == line["event"] for line in found)


def test_an_exception_is_one_line(written: io.StringIO) -> None:
    """A traceback is part of its line, with the ids."""
    try:
        raise LookupError("words")
    except LookupError:
        with make_context("ann").bind():
            logging.getLogger("netra.test").exception("failed")
    (line,) = lines(written)
    assert "LookupError: words" in line["exception"]
    assert (line["event"], line["user_id"]) == ("failed", "ann")


@pytest.mark.parametrize("words", ['x\n{"event":"forged","user_id":"bob"}', "x\r\nforged", "\x1b[2J", "\u2028"])
def test_no_words_forge_a_line(written: io.StringIO, words: str) -> None:
    """Whatever a message holds, it is one line of its own, and no control character gets through."""
    with make_context("ann").bind():
        logging.getLogger("netra.test").info("said %s", words)
    (line,) = lines(written)
    assert (line["event"], line["user_id"]) == (f"said {words}", "ann")
    assert all(character.isprintable() for character in written.getvalue().removesuffix("\n"))


def test_what_is_less_severe_is_not_written(written: io.StringIO) -> None:
    """The level is the least that is written, of every logger."""
    logging.getLogger("netra.test").debug("unheard")
    logging.getLogger("sqlalchemy.engine").debug("unheard")
    assert lines(written) == []


def test_logging_twice_configured_writes_once(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuring again replaces what was."""
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("WARNING")
    logging.info("unheard")
    logging.warning("heard")
    assert [line["event"] for line in lines(written)] == ["heard"]


def test_a_terminal_gets_words_for_people(monkeypatch: pytest.MonkeyPatch, written: io.StringIO) -> None:
    """On a terminal a line is no JSON, and tells the same."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("INFO")
    with make_context("ann").bind():
        logging.info("words")
    assert "words" in terminal.getvalue()
    assert "ann" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def numbers(metrics: Metrics) -> dict[tuple[str, str], float]:
    """The samples that are exposed, by name and labels, as Prometheus reads them."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
    }


def test_two_servers_in_a_process_count_for_themselves() -> None:
    """Each app has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.observe_entries([log_entry(1), log_entry(2), log_entry(3, type_=EventType.AGENT_COMPLETED)])
    one.observe_commit(3, 0.004)
    one.watch("netra_connections", "Open", lambda: 7)
    other.watch("netra_connections", "Open", lambda: 1)
    assert numbers(one)["netra_log_entries_total", "agent_thinking"] == 2
    assert numbers(one)["netra_log_entries_total", "agent_completed"] == 1
    assert (numbers(one)["netra_commit_commands_sum", ""], numbers(one)["netra_commit_seconds_count", ""]) == (3, 1)
    assert numbers(one)["netra_connections", ""] == 7
    assert numbers(other)["netra_connections", ""] == 1
    assert numbers(other).get(("netra_log_entries_total", "agent_thinking"), 0) == 0
    assert numbers(other)["netra_commit_seconds_count", ""] == 0


def test_a_watched_number_is_read_when_it_is_asked_for() -> None:
    """`watch` reports the number of now, not of then."""
    metrics = Metrics()
    values = iter((1.0, 2.0))
    metrics.watch("netra_thing", "A thing", lambda: next(values))
    assert numbers(metrics)["netra_thing", ""] == 1.0
    assert numbers(metrics)["netra_thing", ""] == 2.0


def test_no_number_names_a_user() -> None:
    """Metrics are for the operator: no label holds an id or anybody's words."""
    metrics = Metrics()
    metrics.observe_entries([log_entry(1, user_id="secret-user", thread_id="secret-thread", run_id="secret-run")])
    assert b"secret" not in metrics.expose()


def test_a_security_event_is_structured(written: io.StringIO) -> None:
    """A security event says what happened, to whom and from where, in fields of its own; alarms are warnings."""
    tell_security_event(SecurityEvent.SIGNED_IN, address="192.0.2.1", user_id="ann", session_id="s1")
    with make_context("bob").bind():
        tell_security_event(SecurityEvent.REFRESH_REUSED, user_id="bob")
    signed_in, reused = lines(written)
    about = {"security_event": "signed_in", "address": "192.0.2.1", "user_id": "ann", "session_id": "s1"}
    assert signed_in.items() >= {**about, "event": "signed_in", "level": "info", "logger": "netra.security"}.items()
    assert (reused["security_event"], reused["level"], reused["user_id"]) == ("refresh_reused", "warning", "bob")
    assert "address" not in reused


def test_a_traceback_shows_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where people read the log, a traceback has no local variables: passwords and tokens are among them."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("INFO")
    try:
        password = "correct horse " + "battery"
        try:
            raise RuntimeError("it failed") if password else AssertionError
        except RuntimeError:
            logging.getLogger("netra.test").exception("a request failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "RuntimeError: it failed" in terminal.getvalue()
    assert "battery" not in terminal.getvalue().replace('"battery"', "")

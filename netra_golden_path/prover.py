"""The proof: many users at once on the golden path, judged from outside."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from uuid import NAMESPACE_URL, uuid5

import aiohttp

from netra_golden_path import scenario
from netra_golden_path.canary import Vault, plant, redact
from netra_golden_path.client import Account, Client, Clock, Target, Transport, WireError, open_transport
from netra_golden_path.faults import draw_drops
from netra_golden_path.figures import compute
from netra_golden_path.invariants import Expected, Finding, ServiceLevels, Violation, check, leaks, said
from netra_golden_path.journey import LIMIT_S, History, Message, Plan, travel
from netra_golden_path.progress import Status
from netra_golden_path.report import Measurements, Outcome, Report

PREPARED_AT_ONCE = 16
STARTS_PER_SECOND = 50
"""How fast users start when no ramp is given."""


def draw_seed() -> int:
    """Draws a seed that nobody can guess the secrets from."""
    return secrets.randbelow(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to prove.

    Attributes:
        target: where the deployment is.
        users: how many, at once.
        journeys: how many each makes, one after another.
        ramp_s: over how many seconds the users start; a fiftieth of a second for each when not given.
        seed: what the scenarios are made from; drawn when not given.
        accounts: existing accounts to use, whose usage records are replaced; registered on the spot when empty.
        levels: how long things may take.
        limit_s: when a journey is given up, in seconds.
        drops: how many times each journey's connection is dropped, at places drawn from the seed.
        outlives_server: whether users come back when the server is gone.
    """

    target: Target
    users: int = 50
    journeys: int = 1
    ramp_s: float | None = None
    seed: int = field(default_factory=draw_seed)
    accounts: tuple[Account, ...] = ()
    levels: ServiceLevels = field(default_factory=ServiceLevels)
    limit_s: float = LIMIT_S
    drops: int = 0
    outlives_server: bool = False

    def __post_init__(self) -> None:
        if self.users < 1 or self.journeys < 1:
            raise ValueError(f"expected at least one user and one journey, got {self.users} and {self.journeys}")
        if self.accounts and len(self.accounts) < self.users:
            raise ValueError(f"{self.users} users need as many accounts, got {len(self.accounts)}")


class PreparationFailed(Exception):
    """Raised when a user cannot be prepared, with the server's own words."""

    def __init__(self, user: int, reason: str) -> None:
        super().__init__(user, reason)
        self.user = user
        self.reason = reason

    def __str__(self) -> str:
        return f"user {self.user} could not be prepared: {self.reason}"


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as a user left it."""

    thread_id: str
    messages: tuple[Message, ...]


Disturbance = Callable[[], AbstractAsyncContextManager[object]]
"""What goes on while users travel."""


async def prove(
    options: Options,
    status: Status | None = None,
    clock: Clock = time.monotonic,
    disturbance: Disturbance = nullcontext,
) -> Report:
    """Prepares the users, lets them travel, and judges.

    Args:
        options: what to prove.
        status: told how far the proof has come.
        clock: monotonic, in seconds.
        disturbance: entered when the users are prepared, left when the last has travelled.

    Returns:
        What was measured and found. Journeys that failed are in it, too.

    Raises:
        PreparationFailed: when a user cannot register, sign in or upload.
        ValueError: when the seed gives two users the same secret.
    """
    vault = Vault((user, plant(options.seed, user)) for user in range(options.users))
    ramp_s = options.users / STARTS_PER_SECOND if options.ramp_s is None else options.ramp_s
    async with open_transport() as transport:
        proof = _Proof(options, transport, vault, status or Status(), clock)
        began = clock()
        travellers = await proof.prepare()
        async with disturbance():
            started = clock()
            await proof.travel(travellers, started, ramp_s)
        ended = clock()
    return Report(
        target=options.target.base_url,
        run_id=proof.run_id,
        seed=options.seed,
        users=options.users,
        journeys_per_user=options.journeys,
        ramp_s=ramp_s,
        preparation_s=started - began,
        duration_s=ended - started,
        measurements=proof.measurements,
    )


def plan(run_id: str, user: int, journey: int, last: Thread | None) -> Plan:
    """Decides what a journey does.

    The first lets the server choose the thread; then even ones go on in the last thread and odd ones bring a new id.
    Thread and message ids are the same for all users on purpose: they live in each user's own namespace. Half of the
    users begin with the token in the header, half with the token in a frame; then each alternates.

    Args:
        run_id: of the proof.
        user: the user's number.
        journey: the journey's number, from 1.
        last: the thread of the journey before; None when its state is not known.
    """
    message_id = str(uuid5(NAMESPACE_URL, f"netra-golden-path/{run_id}/message/{journey}"))
    header_form = (user + journey) % 2 == 0
    if journey % 2 == 0 and last is not None:
        return Plan(
            user=user,
            journey=journey,
            header_form=header_form,
            client_message_id=message_id,
            thread_id=last.thread_id,
            first_seq=last.messages[-1].seq + 1,
            earlier=last.messages,
        )
    own_thread = str(uuid5(NAMESPACE_URL, f"netra-golden-path/{run_id}/thread/{journey}"))
    return Plan(
        user=user,
        journey=journey,
        header_form=header_form,
        client_message_id=message_id,
        thread_id=None if journey == 1 else own_thread,
    )


def judge(history: History, expected: Expected, vault: Vault, levels: ServiceLevels) -> Outcome:
    """Checks a journey and keeps what is worth keeping."""
    return Outcome(
        connect_s=history.connect_s,
        first_event_s=history.first_event_s,
        journey_s=history.journey_s,
        drops=history.drops,
        losses=history.losses,
        resends=history.resends,
        findings=check(history, expected, vault, levels),
    )


@dataclass(frozen=True, slots=True)
class _Traveller:
    """A user who is ready to go."""

    client: Client
    expected: Expected


class _Proof:
    """One proof's state."""

    def __init__(self, options: Options, transport: Transport, vault: Vault, status: Status, clock: Clock) -> None:
        self.run_id = secrets.token_hex(4)
        self.measurements = Measurements()
        self._options = options
        self._transport = transport
        self._vault = vault
        self._status = status
        self._clock = clock

    async def prepare(self) -> list[_Traveller]:
        """Prepares all users, a few at once; the first failure ends it."""
        self._status.enter("preparing users", self._options.users)
        gate = asyncio.Semaphore(PREPARED_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._prepare(user, gate)) for user in range(self._options.users)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        travellers = [task.result() for task in tasks]
        self.measurements.record_findings(_shared_ids(traveller.expected for traveller in travellers))
        return travellers

    async def travel(self, travellers: list[_Traveller], start: float, ramp_s: float) -> None:
        """Lets all users go, spread over the ramp, and waits for the last."""
        self._status.enter("journeys", self._options.users * self._options.journeys)
        async with asyncio.TaskGroup() as group:
            for traveller in travellers:
                at = start + ramp_s * traveller.expected.user / len(travellers)
                group.create_task(self._go(traveller, at))

    async def _prepare(self, user: int, gate: asyncio.Semaphore) -> _Traveller:
        async with gate:
            brought = scenario.write(self._options.seed, user)
            client = Client(self._transport, self._options.target, self._clock)
            try:
                if self._options.accounts:
                    await client.login(self._options.accounts[user])
                    await client.delete_usage_records()
                else:
                    account = Account(self._email(user, brought.secrets.account), secrets.token_urlsafe(24))
                    await client.register(account)
                    await client.login(account)
                user_id = await client.user_id()
                await client.upload(*brought.body(), len(brought.records))
            except (WireError, aiohttp.ClientError, OSError) as error:
                words = str(error) or type(error).__name__
                raise PreparationFailed(user, redact(words)) from error
            self.measurements.record_findings(
                Finding(name=name, user=user, journey=0, detail=detail)
                for name, detail in leaks((), client.take_exchanges(), self._vault, user)
            )
            expected = Expected(user=user, user_id=user_id, figures=compute(brought.records))
            self._status.done += 1
            return _Traveller(client, expected)

    async def _go(self, traveller: _Traveller, at: float) -> None:
        options, status, user = self._options, self._status, traveller.expected.user
        await asyncio.sleep(at - self._clock())
        last: Thread | None = None
        for journey in range(1, options.journeys + 1):
            intent = replace(
                plan(self.run_id, user, journey, last),
                drops=draw_drops(options.seed, user, journey, options.drops),
                outlives_server=options.outlives_server,
            )
            history = await travel(traveller.client, intent, limit_s=options.limit_s, clock=self._clock)
            outcome = judge(history, traveller.expected, self._vault, options.levels)
            self.measurements.record(outcome)
            last = None if outcome.findings else _left(history)
            status.done += 1
            status.failed += bool(outcome.findings)
            status.leaks += sum(finding.name == Violation.LEAK for finding in outcome.findings)

    def _email(self, user: int, secret: str) -> str:
        return f"golden-{self.run_id}-{user}-{secret}@users.netra.invalid"


def _left(history: History) -> Thread:
    """The thread as a journey without findings left it."""
    accepted = history.accepted() or {}
    return Thread(str(accepted.get("thread_id")), (*history.plan.earlier, *said(history)))


def _shared_ids(users: Iterable[Expected]) -> Iterable[Finding]:
    first: dict[str, int] = {}
    for expected in users:
        other = first.setdefault(expected.user_id, expected.user)
        if other != expected.user:
            detail = f"users {other} and {expected.user} were given the same user_id"
            yield Finding(name=Violation.WRONG_ID, user=expected.user, journey=0, detail=detail)

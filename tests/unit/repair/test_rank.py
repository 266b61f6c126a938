"""Ranking: what stands in place of what is missing, and that a guess is never taken for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from netra_repair.arguments import Bound
from netra_repair.candidates import Clue, Decision, Ranking
from netra_repair.causes import Proof, Site
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.evidence import telling_keywords
from netra_repair.fitting import fit
from netra_repair.hints import successors
from netra_repair.history import Past, Verdict
from netra_repair.likeness import SAME_NAME, is_told_apart, likeness
from netra_repair.owners import Access, Member, Owner, Signature
from netra_repair.parameter_rank import rank_parameters
from netra_repair.rank import alternative, plausible, rank
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Source
from netra_repair.syntax import Syntax
from netra_repair.usages import Usage, UsedCall, usages
from netra_repair.weights import WEIGHTS, Weights

ROOT = Path(__file__).resolve().parents[3]
CONTEXT = "netra_backend.app.services.user_execution_context.UserExecutionContext"

CALLS = "user_id=u, thread_id=t, run_id=r"


def sites(texts: Iterable[str], name: str, owner: Owner | None = None, access: Access = Access.CLASS) -> list[Site]:
    """The sites of a name in statements, as the syntax tree shows them."""
    source = Source.of("app.py", "".join(f"{text}\n" for text in texts).encode())
    return [
        Site(reference, owner, access, (Proof.CHECKER,), None) for reference in Syntax.parse(source).references({name})
    ]


@pytest.fixture
def owned(tmp_path: Path) -> tuple[Owner, Mapping[str, Member], Path]:
    """A class with methods that a ranking may be asked about, its members, and the root it lies in."""
    (tmp_path / "shop.py").write_text(
        """
class Shop:
    def create_order(self, order_id, customer): ...
    def get_order(self, order_id): ...
    def get_orders(self): ...
    def delete_order(self, order_id): ...
    def _archive(self, order_id): ...
    async def fetch_remote(self, order_id): ...
    @property
    def is_open(self): ...
    def close_all(self, reason=None): ...
    @classmethod
    def from_settings(cls, host, port): ...
""",
        "utf-8",
    )
    definitions = Definitions(tmp_path, [tmp_path])
    owner = definitions.named("shop.Shop")
    assert owner is not None
    return owner, definitions.members(owner), tmp_path


def defined(root: Path, text: str, name: str) -> tuple[Owner, Mapping[str, Member], Path]:
    """What a file of the root defines under a dotted name, its members, and the root."""
    (root / f"{name.partition('.')[0]}.py").write_text(text)
    definitions = Definitions(root, [root])
    owner = definitions.named(name)
    assert owner is not None
    return owner, definitions.members(owner), root


def asked(
    owned: tuple[Owner, Mapping[str, Member], Path], name: str, texts: Sequence[str], **others: object
) -> Ranking:
    """The ranking for calls on an instance, with nothing else used in the project unless said."""
    owner, members, _ = owned
    found = sites(texts, name, owner, Access.INSTANCE)
    return rank(owner, name, found, members, **others)  # type: ignore[arg-type]  # keywords of `rank`


# --- the case that the tool was made for ---


@pytest.fixture(scope="module")
def context() -> tuple[Owner, Mapping[str, Member]]:
    definitions = Definitions(ROOT, [ROOT])
    owner = definitions.named(CONTEXT)
    assert owner is not None
    assert definitions.dynamic(owner, Access.CLASS) is None
    return owner, definitions.members(owner)


def create_for_user(owner: Owner) -> list[Site]:
    """105 calls by keyword, three by position, and one with keywords that no factory has."""
    texts = [f"UserExecutionContext.create_for_user({CALLS})"] * 105
    texts += ["UserExecutionContext.create_for_user(u, t, r)"] * 3
    texts += ["UserExecutionContext.create_for_user(user_id=u, session_data=s, permissions=p)"]
    return sites(texts, "create_for_user", owner)


def test_factories_that_fit_alike_are_a_tie(context: tuple[Owner, Mapping[str, Member]]) -> None:
    """Three factories take what the calls pass: without more evidence none is chosen, and the reason names them."""
    owner, members = context
    ranking = rank(owner, "create_for_user", create_for_user(owner), members)
    assert ranking.decision is Decision.TIE
    tied = {"from_request", "from_agent_execution_context", "from_request_supervisor"}
    assert {each.name for each in ranking.candidates[:3]} == tied
    assert all(f"`{name}`" in ranking.reason for name in tied)
    assert "--to NAME" in ranking.reason
    assert (ranking.candidates[0].fits, ranking.candidates[0].sites) == (108, 109)


def test_living_calls_with_the_same_keywords_break_the_tie(
    context: tuple[Owner, Mapping[str, Member]], tmp_path: Path
) -> None:
    """Other files that call one factory with the very keywords show which is meant."""
    owner, members = context
    files = {
        "one.py": f"UserExecutionContext.from_request({CALLS})\nctx.get_correlation_id()\n",
        "two.py": f"def f():\n    return UserExecutionContext.from_request(\n        {CALLS}\n    )\n",
        "three.py": "UserExecutionContext.from_request_supervisor(user_id=1, metadata=2)\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    found = create_for_user(owner)
    names = plausible("create_for_user", found, members)
    assert set(names) >= {"from_request", "from_agent_execution_context", "from_request_supervisor"}
    assert "create_child_context" not in names
    used = usages(tmp_path, files, names, telling_keywords(found), apart_from=[owner.file])
    ranking = rank(owner, "create_for_user", found, members, usages=used)
    assert ranking.decision is Decision.CHOSEN
    assert ranking.candidates[0].name == "from_request"
    assert Clue.USE in {each.clue for each in ranking.candidates[0].evidence}
    assert "living calls with the same keywords" in ranking.reason


def test_a_site_that_fits_no_factory_is_refused_by_itself(context: tuple[Owner, Mapping[str, Member]]) -> None:
    """The one call with other keywords does not spoil the ranking: it gets its own reason, and no second choice."""
    owner, members = context
    odd = create_for_user(owner)[-1]
    refusal = fit(odd, members["from_request"])
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNKNOWN_KEYWORD
    chosen = Past(Verdict.RENAMED, "in 0123", renamed_to="from_request")
    ranking = rank(owner, "create_for_user", create_for_user(owner), members, past=chosen)
    assert ranking.decision is Decision.CHOSEN
    assert alternative(odd, ranking, {}) is None


# --- grounds ---


def test_calls_that_spread_their_arguments_do_not_speak_against_a_candidate(
    owned: tuple[Owner, Mapping[str, Member], Path],
) -> None:
    """Whether `*names` fits nobody knows: the other calls tell; where there is no other call, it fits nothing."""
    spread = ["shop.getOrder(*names)"] * 3
    ranking = asked(owned, "getOrder", ["shop.getOrder(7)", *spread])
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.CHOSEN, "get_order")
    assert (ranking.candidates[0].fits, ranking.candidates[0].sites) == (1, 1)
    alone = asked(owned, "getOrder", spread)
    assert (alone.decision, "spreads its arguments" in alone.reason) == (Decision.NONE, True)


def test_a_member_that_takes_everything_is_not_ahead_of_the_very_name(tmp_path: Path) -> None:
    """Where all calls spread their arguments, that they surely fit `*args` is no ground."""
    text = "class Log:\n    def event(self, *args, **kwargs): ...\n    def record_event(self, name): ...\n"
    ranking = asked(defined(tmp_path, text, "log.Log"), "recordEvent", ["log.recordEvent(*args)"] * 2)
    assert ranking.decision is Decision.NONE


def test_what_only_calls_the_missing_name_is_not_its_new_one(tmp_path: Path) -> None:
    """An old spelling that hands on to the missing name would call itself for ever; what may call itself is one."""
    text = (
        "class Url:\n    @classmethod\n    def fromText(cls, text):\n"
        "        'Old.'\n        return cls.from_text(text)\n\n"
        "    def walkAll(self, node):\n        for child in node:\n            self.walk_all(child)\n"
    )
    owned = defined(tmp_path, text, "url.Url")
    assert [each.name for each in asked(owned, "from_text", ["url.from_text(a)"]).candidates] == ["walkAll"]
    assert asked(owned, "walk_all", ["url.walk_all(a)"]).candidates[0].name == "walkAll"


def test_a_class_is_no_spelling_of_its_instances_name(tmp_path: Path) -> None:
    """`profiles` may be an instance of `Profiles`; what is called like one is the class."""
    owner, members, _ = defined(tmp_path, "class Profiles:\n    pass\n\n\nDEFAULT_TIMEOUT = 5\n", "library")

    def decided(text: str, name: str = "profiles") -> Decision:
        found = sites([text], name, owner, Access.MODULE)
        return rank(owner, name, found, members).decision

    assert decided("from library import profiles") is Decision.LIKELY
    assert decided("library.profiles.add(1)") is Decision.LIKELY
    assert decided("library.profiles()") is Decision.CHOSEN
    assert decided("wait(library.default_timeout)", "default_timeout") is Decision.CHOSEN, "a constant has no instances"


def test_another_spelling_of_the_name_is_chosen(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """Case, order and a slip of a key are the same name, when its calls fit."""
    for name in ("createOrder", "order_create", "creaet_order", "CreateOrder"):
        ranking = asked(owned, name, [f"shop.{name}(1, customer=2)"])
        assert (name, ranking.decision) == (name, Decision.CHOSEN)
        assert ranking.candidates[0].name == "create_order"


def test_the_same_name_is_not_chosen_when_its_calls_do_not_fit(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """A likely name whose parameters are other ones is left to a person, or is no candidate at all."""
    assert asked(owned, "createOrder", ["shop.createOrder(1, 2, 3)"]).candidates == ()
    mostly = asked(owned, "createOrder", ["shop.createOrder(1, 2)", *["shop.createOrder(1)"] * 3])
    assert mostly.decision is not Decision.CHOSEN


@pytest.mark.parametrize("name", ["update_order", "cancel_order", "get_order_lines", "set_order", "purge", "restore"])
def test_what_was_dropped_gets_no_unrelated_survivor(
    owned: tuple[Owner, Mapping[str, Member], Path], name: str
) -> None:
    """That a survivor fits, shares a word, or is called elsewhere with the same keywords is not enough."""
    living = {
        each: Usage(9, tuple(usages_of(owned[2], f"shop.{each}(order_id=1, customer=2)", each)))
        for each in ("create_order", "get_order", "delete_order", "close_all")
    }
    for texts in ([f"shop.{name}(1)"] * 5, [f"shop.{name}(order_id=1, customer=2)"] * 5, [f"shop.{name}()"] * 5):
        for known in ({}, living):
            ranking = asked(owned, name, texts, usages=known)
            assert (texts[0], ranking.decision) != (texts[0], Decision.CHOSEN)


def usages_of(root: Path, call: str, name: str) -> Iterable[UsedCall]:
    """Three living calls."""
    (root / "living.py").write_text(f"{call}\n" * 3, "utf-8")
    return usages(root, ["living.py"], [name], [frozenset({"order_id", "customer"})])[name].calls


def test_an_unused_synonym_is_likely_at_most(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """What nothing uses while nearly its name is missing may be its new name: that is for the tests to say."""
    texts = ["shop.remove_order(1)", "shop.remove_order(order_id=2)"]
    unused = asked(owned, "remove_order", texts, usages={"delete_order": Usage(0, ())})
    assert (unused.decision, unused.candidates[0].name) == (Decision.LIKELY, "delete_order")
    used = asked(owned, "remove_order", texts, usages={"delete_order": Usage(4, ())})
    assert used.decision is not Decision.CHOSEN
    longer = asked(owned, "delete_order_now", ["shop.delete_order_now(1)"] * 2, usages={"delete_order": Usage(0, ())})
    assert (longer.decision, longer.candidates[0].name) == (Decision.LIKELY, "delete_order")
    living = asked(owned, "delete_order_now", ["shop.delete_order_now(1)"] * 2, usages={"delete_order": Usage(4, ())})
    assert living.decision is not Decision.CHOSEN
    assert used.candidates[0].name == "delete_order"


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        replace(WEIGHTS, unused=100.0),
        replace(WEIGHTS, name=100.0, fit=100.0),
        replace(WEIGHTS, floor=0.0, margin=0.0),
    ],
    ids=["as they are", "unused", "name and fit", "no floor, no margin"],
)
@pytest.mark.parametrize("name", ["opening_hours_text", "current_opening_hours", "opening_times"])
def test_no_weight_makes_nearly_its_name_a_choice(name: str, weights: Weights, tmp_path: Path) -> None:
    """That a value is called nearly so, fits and is used by nothing is no ground, whatever each of it counts for."""
    (tmp_path / "shop.py").write_text(
        "class Shop:\n    @property\n    def opening_hours(self): ...\n\n    @property\n    def owner(self): ...\n",
        "utf-8",
    )
    definitions = Definitions(tmp_path, [tmp_path])
    owner = definitions.named("shop.Shop")
    assert owner is not None
    found = sites([f"text = shop.{name}", f"print(shop.{name})"], name, owner, Access.INSTANCE)
    unused = {each: Usage(0, ()) for each in ("opening_hours", "owner")}
    ranking = rank(owner, name, found, definitions.members(owner), usages=unused, weights=weights)
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.LIKELY, "opening_hours")
    clues = {each.clue for each in ranking.candidates[0].evidence}
    assert clues == {Clue.FIT, Clue.NAME, Clue.UNUSED}


def test_the_property_of_the_missing_names_field_is_chosen(tmp_path: Path) -> None:
    """What hands out `_kind` is meant by `kind`, though others share more words; what does more with it is not."""
    (tmp_path / "shop.py").write_text(
        """
class Shop:
    @property
    def default_kind_handler(self): return self._kinds
    @property
    def flavour(self):
        \"\"\"What it is.\"\"\"
        return self._default_kind
    @property
    def checked(self):
        self.check()
        return self._default_kind
    def as_method(self): return self._default_kind
""",
        "utf-8",
    )
    definitions = Definitions(tmp_path, [tmp_path])
    owner = definitions.named("shop.Shop")
    assert owner is not None
    owned = owner, definitions.members(owner), tmp_path
    ranking = asked(owned, "default_kind", ["print(shop.default_kind)"])
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.CHOSEN, "flavour")
    assert [each.name for each in ranking.candidates if Clue.FIELD in {one.clue for one in each.evidence}] == [
        "flavour"
    ]
    called = asked(owned, "default_kind", ["with shop.default_kind as kind: pass", "shop.default_kind(1)"])
    assert (called.decision, called.candidates[0].name) == (Decision.CHOSEN, "flavour")
    another = asked(owned, "default_kind_name", ["print(shop.default_kind_name)"])
    assert another.decision is not Decision.CHOSEN


def test_history_decides(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """What git saw renamed is chosen whatever it is called; its old parameters are known by position and name."""
    owner, members, _ = owned
    signature = Signature(tuple(reversed(members["create_order"].signature.parameters)))  # type: ignore[union-attr]
    past = Past(Verdict.RENAMED, "renamed in 0123", renamed_to="create_order", signature=signature)
    ranking = asked(owned, "zap", ["shop.zap(1, 2)"], past=past)
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.CHOSEN, "create_order")
    bound = fit(sites(["shop.zap(1, 2)"], "zap", owner, Access.INSTANCE)[0], members["create_order"], past)
    assert isinstance(bound, Bound)
    assert [edit.text for edit in bound.edits] == ["customer=", "order_id="]


def test_renamed_parameters_make_a_successor_plausible(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """Calls that pass the old names of parameters fit what they were renamed to, once history says so."""
    owner, members, _ = owned
    found = sites(["shop.zap(order=1, client=2)"], "zap", owner, Access.INSTANCE)
    pairs = (("order", "order_id"), ("client", "customer"))
    past = Past(Verdict.RENAMED, "in 0123", renamed_to="create_order", renamed_parameters=pairs)
    assert plausible("zap", found, members) == ()
    assert plausible("zap", found, members, past) == ("create_order",)
    ranking = rank(owner, "zap", found, members, past=past)
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.CHOSEN, "create_order")


def test_what_stood_beside_the_missing_name_is_not_its_new_name(
    owned: tuple[Owner, Mapping[str, Member], Path],
) -> None:
    """Even an unused synonym is another thing when both were there at once."""
    past = Past(Verdict.REMOVED, "removed in 0123", beside=("delete_order",))
    ranking = asked(
        owned, "remove_order", ["shop.remove_order(1)"] * 3, usages={"delete_order": Usage(0, ())}, past=past
    )
    assert ranking.decision is not Decision.CHOSEN
    assert any(each.weight < 0 for each in ranking.candidates[0].evidence if each.clue is Clue.HISTORY) or (
        ranking.candidates[0].name != "delete_order"
    )


def test_the_librarys_own_words_decide(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """A message that names the successor is believed; Python's guess by spelling is not."""
    texts = ["shop.archive(1)"]
    told = asked(
        owned, "archive", texts, hints=["`Shop.archive` was removed in 2.0. Use `Shop.delete_order()` instead."]
    )
    assert (told.decision, told.candidates[0].name) == (Decision.CHOSEN, "delete_order")
    guess = asked(
        owned, "archive", texts, hints=["'Shop' object has no attribute 'archive'. Did you mean: '_archive'?"]
    )
    assert guess.decision is not Decision.CHOSEN


def test_private_names_lose(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """A private name in place of a public one is never chosen, though it is the nearest by spelling."""
    ranking = asked(owned, "archive", ["shop.archive(1)"] * 3, usages={"_archive": Usage(0, ())})
    assert ranking.decision not in (Decision.CHOSEN, Decision.LIKELY)
    (private,) = (each for each in ranking.candidates if each.name == "_archive")
    assert min(private.evidence, key=lambda each: each.weight).clue is Clue.PRIVATE


def test_a_helper_that_nothing_uses_is_likely_for_one_that_is_missing(
    owned: tuple[Owner, Mapping[str, Member], Path],
) -> None:
    """What is private is used inside only: when one is missing, and one of half its words unused, these may be one."""
    usage = {"_archive": Usage(0, ()), "get_orders": Usage(0, ())}
    ranking = asked(owned, "_archive_order", ["shop._archive_order(1)"], usages=usage)
    unused = {each.name for each in ranking.candidates if any(e.clue is Clue.UNUSED for e in each.evidence)}
    assert (ranking.decision, ranking.candidates[0].name, unused) == (Decision.LIKELY, "_archive", {"_archive"})
    for name, calls in ("archive_order", 3), ("_put_away", 1):
        other = asked(owned, name, [f"shop.{name}(1)"] * calls, usages=usage)
        unused = {each.name for each in other.candidates if any(e.clue is Clue.UNUSED for e in each.evidence)}
        assert "_archive" not in unused
        assert other.decision is not Decision.LIKELY


def test_the_public_name_of_a_private_one_needs_the_tests(
    owned: tuple[Owner, Mapping[str, Member], Path],
) -> None:
    """`get_order` may well call `_get_order`: that the names are alike is no ground to put it in the other's place."""
    ranking = asked(owned, "_get_order", ["shop._get_order(1)"])
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.LIKELY, "get_order")
    private = asked(owned, "_Archive", ["shop._Archive(1)"])
    assert (private.decision, private.candidates[0].name) == (Decision.CHOSEN, "_archive")


# --- gates ---


def test_kinds_that_cannot_stand_there_are_no_candidates(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """A class cannot call methods of instances, a property is not called, a method is not read as a value."""
    owner, members, _ = owned
    on_class = rank(owner, "getOrder", sites(["Shop.getOrder(1)"], "getOrder", owner, Access.CLASS), members)
    assert "get_order" not in {each.name for each in on_class.candidates}
    assert "is_open" not in {each.name for each in asked(owned, "isOpen", ["shop.isOpen()"]).candidates}
    read = asked(owned, "isOpen", ["if shop.isOpen: pass"])
    assert (read.decision, [each.name for each in read.candidates]) == (Decision.CHOSEN, ["is_open"])
    assert asked(owned, "getOrders", ["if shop.getOrders: pass"]).decision is not Decision.CHOSEN


def test_what_is_passed_on_may_be_a_method(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """What is handed on everywhere may be a method, but only the tests can say so; a value needs no test."""
    passed = asked(owned, "orderGet", ["events.observe(shop.orderGet)", "handler = shop.orderGet"])
    assert (passed.decision, passed.candidates[0].name) == (Decision.LIKELY, "get_order")
    tested = asked(owned, "orderGet", ["events.observe(shop.orderGet)", "assert shop.orderGet"])
    assert "get_order" not in {each.name for each in tested.candidates}
    value = asked(owned, "isOpen", ["print(shop.isOpen)"])
    assert (value.decision, value.candidates[0].name) == (Decision.CHOSEN, "is_open")


def test_what_is_awaited_must_be_async(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """Awaited calls need an async method, others need one that is not."""
    awaited = asked(owned, "fetchRemote", ["async def f():\n    await shop.fetchRemote(1)"])
    assert (awaited.decision, awaited.candidates[0].name) == (Decision.CHOSEN, "fetch_remote")
    assert "fetch_remote" not in {each.name for each in asked(owned, "fetchRemote", ["shop.fetchRemote(1)"]).candidates}
    sync = asked(owned, "getOrder", ["async def f():\n    await shop.getOrder(1)"])
    assert "get_order" not in {each.name for each in sync.candidates}


def test_nothing_of_object_stands_for_anything(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """Special methods and what every object has are no candidates."""
    names = {each.name for each in asked(owned, "zap", ["shop.zap"]).candidates}
    assert not [name for name in names if name.startswith("__")]


def test_without_candidates_the_reason_says_so(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """Where nothing could stand, the report says that."""
    ranking = asked(owned, "zap", ["shop.zap(1, 2, 3, 4, 5)"])
    assert (ranking.decision, ranking.candidates, ranking.margin) == (Decision.NONE, (), 0.0)
    assert "nothing that shop.Shop has" in ranking.reason


def test_a_second_candidate_needs_the_sites_own_keywords_in_living_calls(tmp_path: Path) -> None:
    """A site that the best does not fit gets another one only if that is the only one and is called just so."""
    (tmp_path / "m.py").write_text(
        "class C:\n"
        "    @classmethod\n    def from_request(cls, user_id, thread_id): ...\n"
        "    @classmethod\n    def from_session(cls, session_id, cookie): ...\n",
        "utf-8",
    )
    definitions = Definitions(tmp_path, [tmp_path])
    owner = definitions.named("m.C")
    assert owner is not None
    texts = ["C.made(user_id=1, thread_id=2)"] * 6 + ["C.made(session_id=1, cookie=2)"]
    found = sites(texts, "made", owner)
    past = Past(Verdict.RENAMED, "in 0123", renamed_to="from_request")
    ranking = rank(owner, "made", found, definitions.members(owner), past=past)
    (tmp_path / "living.py").write_text("C.from_session(session_id=1, cookie=2)\n" * 2, "utf-8")
    living = usages(tmp_path, ["living.py"], ["from_session"], telling_keywords([found[-1]]))
    other = alternative(found[-1], ranking, living)
    assert other is not None
    assert other.name == "from_session"
    assert alternative(found[-1], ranking, {}) is None
    (tmp_path / "living.py").write_text("C.from_session(session_id=1, cookie=2)\n", "utf-8")
    assert (
        alternative(
            found[-1], ranking, usages(tmp_path, ["living.py"], ["from_session"], telling_keywords([found[-1]]))
        )
        is None
    )


def test_the_order_of_the_members_does_not_matter(owned: tuple[Owner, Mapping[str, Member], Path]) -> None:
    """The same values give the same ranking."""
    owner, members, _ = owned
    found = sites(["shop.orders(1)"], "orders", owner, Access.INSTANCE)
    backwards = dict(reversed(list(members.items())))
    assert rank(owner, "orders", found, members) == rank(owner, "orders", found, backwards)


# --- parameters ---


def called(definition: str, texts: Sequence[str], root: Path) -> tuple[Member, list[Site]]:
    """A function and calls of it."""
    (root / "f.py").write_text(f"def f({definition}): ...\n", "utf-8")
    member = Definitions(root, [root]).callable_named("f.f")
    assert member is not None
    return member, sites([f"m.{text}" for text in texts], "f", None, Access.MODULE)


@pytest.mark.parametrize(
    ("definition", "text", "keyword", "decision", "chosen"),
    [
        ("user_id, thread_id", "f(1, thread=2)", "thread", Decision.CHOSEN, "thread_id"),
        ("user_id, thread_id, threads=()", "f(1, thread=2)", "thread", Decision.CHOSEN, "thread_id"),
        ("user_id, threadId=None", "f(1, thread_id=2)", "thread_id", Decision.CHOSEN, "threadId"),
        ("user_id, user_agent=None", "f(1, user=2)", "user", Decision.LIKELY, "user_agent"),
        ("user_id, limit", "f(1, colour=2)", "colour", Decision.LIKELY, "limit"),
        ("user_id, limit=0", "f(1, colour=2)", "colour", Decision.NONE, None),
        ("a, left_side=0, right_side=0", "f(1, side=2)", "side", Decision.TIE, None),
        ("user_id", "f(1, thread=2)", "thread", Decision.NONE, None),
        ("user_id, thread_id", "f(1, 2, thread=3)", "thread", Decision.NONE, None),
    ],
)  # fmt: skip
def test_an_unexpected_keyword_is_a_parameter_of_nearly_its_name(
    definition: str, text: str, keyword: str, decision: Decision, chosen: str | None, tmp_path: Path
) -> None:
    """Chosen is a free parameter that is spelled otherwise, or says more and is needed; what only fits is tried."""
    member, found = called(definition, [text] * 3, tmp_path)
    ranking = rank_parameters(CauseKind.UNEXPECTED_KEYWORD, keyword, member, found)
    assert ranking.decision is decision
    if chosen is not None:
        assert ranking.candidates[0].name == chosen


def test_history_renames_a_parameter(tmp_path: Path) -> None:
    """What git saw renamed is chosen whatever it is called."""
    member, found = called("user_id, until=None", ["f(1, deadline=2)"], tmp_path)
    past = Past(Verdict.RENAMED, "renamed in 0123", renamed_to="until")
    ranking = rank_parameters(CauseKind.UNEXPECTED_KEYWORD, "deadline", member, found, past=past)
    assert (ranking.decision, ranking.candidates[0].name) == (Decision.CHOSEN, "until")


def test_positional_arguments_get_the_one_keyword_that_can_be_meant(tmp_path: Path) -> None:
    """Chosen when binding leaves one meaning, tried when only their order tells; no value is ever invented."""
    member, found = called("user_id, *, limit", ["f(1, 2)", "f(1, 3)"], tmp_path)
    ranking = rank_parameters(CauseKind.POSITIONAL_COUNT, "", member, found)
    assert (ranking.decision, ranking.candidates[0].name, ranking.candidates[0].fits) == (Decision.CHOSEN, "limit", 2)
    open_, places = called("user_id, *, limit=1, deadline=2", ["f(1, 2)"], tmp_path)
    tried = rank_parameters(CauseKind.POSITIONAL_COUNT, "", open_, places)
    assert (tried.decision, tried.candidates[0].name) == (Decision.LIKELY, "limit")
    missing = rank_parameters(CauseKind.MISSING_ARGUMENT, "limit", member, found)
    assert (missing.decision, missing.candidates) == (Decision.NONE, ())
    assert "`limit`" in missing.reason


def test_calls_that_stay_as_they_are_do_not_count(tmp_path: Path) -> None:
    """What is refused anyway has no say in what the others mean; when all are refused, candidates are still told."""
    member, found = called("user_id, thread_id", ["f(1, thread=2)", "f(1, thread=2, other=3)"], tmp_path)
    refused = replace(found[1], refusal=Refusal(Reason.GUARDED, "guarded"))
    ranking = rank_parameters(CauseKind.UNEXPECTED_KEYWORD, "thread", member, [found[0], refused])
    assert (ranking.decision, ranking.candidates[0].sites) == (Decision.CHOSEN, 1)
    alone = rank_parameters(
        CauseKind.UNEXPECTED_KEYWORD, "thread", member, [replace(found[0], refusal=refused.refusal)]
    )
    assert [each.name for each in alone.candidates] == ["thread_id"]


# --- names and hints ---


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("getUser", "get_user"), ("HTTPServer", "http_server"), ("user_get", "get_user"), ("recieve", "receive"),
        ("creat_user", "create_user"), ("serialise", "serialize"),
    ],
)  # fmt: skip
def test_spellings_of_one_name_are_alike(left: str, right: str) -> None:
    """Case, order and slips do not matter, in both directions."""
    assert likeness(left, right) == likeness(right, left) >= SAME_NAME


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("get_value", "set_value"), ("encode", "decode"), ("get_item", "get_items"), ("canvasx", "canvasy"),
        ("get_user", "get_user_permissions"), ("load", "unload"), ("create_for_user", "from_request"),
        ("remove_item", "delete_item"), ("x1", "x2"), ("is_valid", "valid"), ("handle", "handler"),
    ],
)  # fmt: skip
def test_names_of_different_things_are_not_the_same_name(left: str, right: str) -> None:
    """Opposites, plurals, longer names and other endings stay below another spelling, in both directions."""
    assert likeness(left, right) == likeness(right, left) < SAME_NAME


def test_an_article_is_less_than_another_word() -> None:
    """A name with an article is nearer than one with a word that says something, and still not the same name."""
    with_article = likeness("transform_node", "the_transform_node")
    assert likeness("transform_node", "transform_token_node") < with_article < SAME_NAME
    assert likeness("vector_a", "vector") < with_article


def test_a_word_and_its_negation_are_opposites() -> None:
    """What is safe is not nearly what is unsafe, however much else of the names is the same."""
    for one, other in (
        ("_add_dunders_safe", "_add_dunders_unsafe"),
        ("is_valid", "is_invalid"),
        ("connect", "disconnect"),
    ):
        assert likeness(one, other) < likeness("closed", "closed_by")


def test_one_word_and_a_direction_have_nothing_to_change_places() -> None:
    """`closed_by` may be called `by_closed`, as `json_to_dict` may never be called `dict_to_json`."""
    assert likeness("json_to_dict", "dict_to_json") < likeness("closed", "closed_by")
    assert likeness("src_dst", "dst_src") < likeness("closed", "closed_by")
    assert likeness("closed", "closed_by") < likeness("by_closed", "closed_by") < SAME_NAME


def test_a_direction_goes_from_one_end_to_the_other() -> None:
    """`from_counting_attr` may be called `counting_attr_from`; between two words it says what becomes what."""
    moved = likeness("from_counting_attr", "counting_attr_from")
    assert likeness("closed", "closed_by") < moved == likeness("counting_attr_from", "from_counting_attr") < SAME_NAME
    for one, other in (("json_to_dict", "to_json_dict"), ("to_json_from", "from_json_to"), ("from_a_by", "a_by_from")):
        assert likeness(one, other) < likeness("closed", "closed_by")


def test_words_that_tell_members_apart_are_no_other_spelling() -> None:
    """`symmetric_difference_update` is not `difference_update` where `symmetric_difference` is not `difference`; and
    `difference_update` is not `update` where there is `difference`."""
    others = ("difference", "symmetric_difference", "difference_update_one", "symmetric_difference_update")
    assert is_told_apart("difference_update", "symmetric_difference_update", others)
    assert not is_told_apart("difference_update", "difference_update_one", others)
    assert not is_told_apart("difference", "symmetric_difference", others[:2]), "they do not speak for themselves"
    assert is_told_apart("update", "difference_update", others)
    assert not is_told_apart("update", "update", others)
    assert not is_told_apart("symmetric_difference_update", "difference_update", others), "it has less, not more"


def test_a_name_with_a_word_more_is_nearer_than_half_a_word() -> None:
    """What begins like another word is less alike than what has the whole name in it."""
    apart = WEIGHTS.ahead / WEIGHTS.name
    assert likeness("iterfind", "iter") + apart < likeness("iterfind", "iterfind_now")


@pytest.mark.parametrize(
    ("text", "successor"),
    [
        ("`np.string_` was removed in the NumPy 2.0 release. Use `np.bytes_` instead.", "bytes_"),
        ("gone() is deprecated, use bytes_() instead", "bytes_"),
        ("Renamed to :meth:`~pkg.C.bytes_`", "bytes_"),
        ("deprecated in favour of bytes_", "bytes_"),
        ("superseded by 'bytes_'", "bytes_"),
        ("'C' object has no attribute 'gone'. Did you mean: 'bytes_'?", None),
        ("use something_else instead", None),
        ("because bytes_ is here", None),
    ],
)  # fmt: skip
def test_the_successor_is_read_off_the_words(text: str, successor: str | None) -> None:
    """Only a name that is said to be the successor counts, and only one that is there."""
    found = successors([text], "gone", {"bytes_", "other"})
    assert list(found) == ([] if successor is None else [successor])

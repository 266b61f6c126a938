"""Tokens: an access token proves exactly what was signed, a refresh token tells nobody its secret."""

from __future__ import annotations

import base64
import hmac
import json
import os
import pickle
import secrets
import stat
import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_backend.app.auth.tokens import REQUIRED, AccessTokens, RefreshToken, load_or_make_key
from netra_backend.app.services.principal import AuthenticationError, Principal
from tests.support.strategies import ids

KEY = b"k" * 64
TTL = timedelta(minutes=15)
BASE64URL = string.ascii_letters + string.digits + "-_"
NOT_VALID = "the token is not valid; sign in again"


def access_tokens(key: bytes = KEY, *, ago: timedelta = timedelta(0)) -> AccessTokens:
    """Tokens of a key, by a clock that is so much behind."""
    return AccessTokens(key, TTL, lambda: datetime.now(UTC) - ago)


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, some of them changed; `None` leaves one out."""
    now = int(datetime.now(UTC).timestamp())
    good = {"sub": "ann", "sid": "s1", "iat": now, "nbf": now, "exp": now + 900, "iss": "netra", "aud": "netra-api"}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(**changed: Any) -> str:
    """A token of such claims."""
    return jwt.encode(claims(**changed), KEY, algorithm="HS256")


def segment(value: object) -> str:
    """A part of a hand-made token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refusal(token: str) -> str:
    """Why a token is refused."""
    with pytest.raises(AuthenticationError) as caught:
        access_tokens().verify(token)
    assert caught.value.__cause__ is None
    return caught.value.reason


@given(user_id=ids(), session_id=ids())
def test_a_token_proves_who_it_was_issued_to(user_id: str, session_id: str) -> None:
    """What is issued verifies to the same user and session, until one `ttl` from now in whole seconds."""
    issuer = access_tokens()
    before = datetime.now(UTC)
    principal = issuer.verify(issuer.issue(user_id, session_id))
    assert (principal.user_id, principal.session_id) == (user_id, session_id)
    assert before + TTL - timedelta(seconds=1) <= principal.expires_at <= datetime.now(UTC) + TTL
    assert principal.expires_at.tzinfo is UTC


def test_a_hand_made_token_of_the_right_key_is_good() -> None:
    """The helper of the tests below makes a good token, so each refusal there has the one reason it tells."""
    exp = datetime.fromtimestamp(claims()["exp"] + 60, UTC)
    principal = access_tokens().verify(signed(exp=int(exp.timestamp())))
    assert principal == Principal("ann", "s1", exp)


def test_an_expired_token_says_so() -> None:
    """The one reason that is told apart is the one a client can act on."""
    expired = access_tokens(ago=TTL + timedelta(seconds=1)).issue("ann", "s1")
    assert refusal(expired) == "the token has expired; refresh it or sign in again"


def test_an_expired_token_of_another_key_does_not_say_so() -> None:
    """Whoever cannot sign learns nothing from the reason."""
    assert refusal(access_tokens(b"x" * 48, ago=2 * TTL).issue("ann", "s1")) == NOT_VALID


def test_a_token_is_not_good_before_its_time() -> None:
    """A clock that runs ahead makes no tokens that are good already."""
    assert refusal(access_tokens(ago=-timedelta(minutes=5)).issue("ann", "s1")) == NOT_VALID
    later = claims()["nbf"] + 300
    assert refusal(signed(nbf=later)) == NOT_VALID


def test_a_clock_that_is_set_back_a_little_ends_no_session() -> None:
    """A token of a moment that is a minute ahead, on this clock or another node's, is good."""
    assert access_tokens().verify(access_tokens(ago=-timedelta(minutes=1)).issue("ann", "s1")).user_id == "ann"


def test_issuing_and_verifying_go_by_the_same_clock() -> None:
    """The clock that is given is the clock: tokens of another time are good at that time and expire in it."""
    moment = [datetime(2020, 2, 29, 12, tzinfo=UTC)]
    clocked = AccessTokens(KEY, TTL, lambda: moment[0])
    token = clocked.issue("ann", "s1")
    assert clocked.verify(token).expires_at == moment[0] + TTL
    moment[0] += TTL + timedelta(seconds=1)
    with pytest.raises(AuthenticationError, match="expired"):
        clocked.verify(token)


@pytest.mark.parametrize("name", REQUIRED)
def test_every_claim_is_required(name: str) -> None:
    """A token without one of the claims proves nobody, though the key signed it."""
    assert refusal(signed(**{name: None})) == NOT_VALID


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "another"},
        {"iss": ["netra"]},
        {"aud": "another-api"},
        {"aud": []},
        {"aud": {"netra-api": 1}},
        {"sub": 5},
        {"sub": ["ann"]},
        {"sid": 5},
        {"sid": ["s1"]},
        {"exp": "tomorrow"},
        {"exp": 10**20},
        {"nbf": "yesterday"},
        {"iat": "yesterday"},
    ],
    ids=str,
)
def test_claims_of_another_kind_prove_nobody(changed: dict[str, Any]) -> None:
    """Another issuer's or audience's token, or one whose claims are of another type, is refused like any bad one."""
    payload = json.dumps(claims(**changed)).encode()  # by hand: `jwt.encode` would refuse to sign some
    assert refusal(jwt.PyJWS().encode(payload, KEY, algorithm="HS256")) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_proves_nobody(algorithm: str) -> None:
    """The algorithm is ours to choose, not the token's, even with the right key."""
    token = jwt.encode(claims(), KEY, algorithm=algorithm)
    assert refusal(token) == NOT_VALID
    payload = token.split(".")[1]
    signed_part = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{payload}"
    signature = hmac.digest(KEY, signed_part.encode(), f"sha{algorithm[2:]}")
    assert refusal(f"{signed_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}") == NOT_VALID


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "RS256", "ES256", "HS256"])
@pytest.mark.parametrize("signature", ["", "AA", "=", "A" * 43])
def test_an_unsigned_token_proves_nobody(algorithm: str, signature: str) -> None:
    """Whatever algorithm a token names, without the key's signature it proves nobody."""
    header, payload = segment({"alg": algorithm, "typ": "JWT"}), segment(claims())
    assert refusal(f"{header}.{payload}.{signature}") == NOT_VALID
    assert refusal(f"{header}.{payload}") == NOT_VALID


@pytest.mark.parametrize("key", [b"K" * 64, b"k" * 63, b"k" * 65, b"\0" * 64])
def test_another_key_proves_nobody(key: bytes) -> None:
    """A signature of another key is none."""
    assert refusal(access_tokens(key).issue("ann", "s1")) == NOT_VALID


def test_parts_of_two_good_tokens_make_no_good_one() -> None:
    """The header, the claims and the signature belong together."""
    ann, bob = (access_tokens().issue(user, "s1").split(".") for user in ("ann", "bob"))
    assert refusal(".".join((ann[0], bob[1], ann[2]))) == NOT_VALID
    assert refusal(".".join((ann[0], ann[1], bob[2]))) == NOT_VALID


@pytest.fixture
def token() -> str:
    """A good token."""
    return access_tokens().issue("1c0e2d2f-4071-4a1d-8eab-3b50734d2c22", "2d1f3e30-5182-4b2e-9fbc-4c61845e3d33")


def _flipped(token: str) -> Iterator[str]:
    last = token.rindex(".") - 1
    for place, character in enumerate(token):
        # In the signature each of them; elsewhere the neighbours in each bit of what the character stands for.
        index = BASE64URL.find(character)
        near = [BASE64URL[index ^ 1 << bit] for bit in range(6)] if index >= 0 else [*"Aa0-_"]
        for other in (*(BASE64URL if place > last else near), *". =+/\n\0é"):
            if other != character:
                yield token[:place] + other + token[place + 1 :]


def _shortened(token: str) -> Iterator[str]:
    for place in range(len(token)):
        yield token[:place] + token[place + 1 :]
        yield token[:place]


def _lengthened(token: str) -> Iterator[str]:
    for place in range(len(token) + 1):
        for added in ("A", ".", "=", "\n", " ", "é"):
            yield token[:place] + added + token[place:]


@pytest.mark.parametrize("change", [_flipped, _shortened, _lengthened])
def test_every_single_character_counts(token: str, change: Callable[[str], Iterator[str]]) -> None:
    """A token with any one character changed, left out or added, anywhere, is another token, and proves nobody."""
    verifier = access_tokens()
    verifier.verify(token)
    accepted = []
    for changed in change(token):
        try:
            verifier.verify(changed)
        except AuthenticationError:
            continue
        accepted.append(changed)
    assert accepted == []


@given(st.text(st.characters()) | st.lists(st.text(BASE64URL), min_size=3, max_size=3).map(".".join))
@example("")
@example("..")
@example("\ud800")
@example("é.é.é")
@example("A" * 100_000)
@example(f"{segment({'alg': 'HS256', 'crit': ['x']})}.{segment({})}.AAAA")
@example(f"{segment([])}.{segment([])}.AAAA")
@example(f"{segment({'alg': ['HS256']})}.{segment({})}.AAAA")
@example(f"{segment({'alg': 'HS256', 'kid': 5})}.{segment({})}.AAAA")
@example(f"{base64.urlsafe_b64encode(b'[' * 3_000).decode()}.{segment({})}.AAAA")
def test_whatever_is_no_token_is_refused(text: str) -> None:
    """Any text at all is a good token or an AuthenticationError, and the reason does not repeat it."""
    with pytest.raises(AuthenticationError) as caught:
        access_tokens().verify(text)
    assert caught.value.reason == NOT_VALID


def test_a_refresh_token_is_the_same_after_its_trip() -> None:
    """A new token's text parses to an equal one with an equal hash; two of a session differ."""
    first, second = RefreshToken.generate("s1"), RefreshToken.generate("s1")
    assert RefreshToken.parse(str(first)) == first
    assert first.session_id == second.session_id == "s1"
    assert first.hash != second.hash
    assert first.hash == sha256(first.secret.encode()).hexdigest()
    assert len(first.secret) >= 43


def test_a_secret_with_dots_is_kept_whole() -> None:
    """The first dot ends the session's id."""
    assert RefreshToken.parse("s1.a.b") == RefreshToken("s1", "a.b")


@pytest.mark.parametrize("text", ["", ".", "s1", "s1.", ".secret", "secret-secret"])
def test_a_text_that_is_no_refresh_token_is_refused(text: str) -> None:
    """A text of another form is refused without being repeated."""
    with pytest.raises(AuthenticationError) as caught:
        RefreshToken.parse(text)
    assert caught.value.reason == "the refresh token is not valid; sign in again"


@given(st.text(st.characters()))
@example("s1.\ud800")
def test_any_text_is_a_refresh_token_with_a_hash_or_refused(text: str) -> None:
    """Whatever a client sends, looking it up needs nothing more than AuthenticationError."""
    with suppress(AuthenticationError):
        parsed = RefreshToken.parse(text)
        assert str(parsed) == text
        assert len(parsed.hash) == 64


def test_a_refresh_token_hides_its_secret() -> None:
    """A token in a log line or a traceback shows its session only; whoever wants the text asks for `str`."""
    refresh_token = RefreshToken.generate("s1")
    for shown in (repr(refresh_token), f"{refresh_token!r}", repr([refresh_token]), f"{[refresh_token]}"):
        assert refresh_token.secret not in shown
        assert "s1" in shown
    assert pickle.loads(pickle.dumps(refresh_token)) == refresh_token


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """The first start makes 48 random bytes that only the owner can read, whatever the umask; later ones read them."""
    path = tmp_path / "secret.key"
    before = os.umask(0)
    try:
        key = load_or_make_key(path)
    finally:
        os.umask(before)
    assert len(key) == 48
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_key(path) == key == path.read_bytes()
    assert load_or_make_key(tmp_path / "another.key") != key
    assert {file.name for file in tmp_path.iterdir()} == {"secret.key", "another.key"}


def test_two_servers_that_start_at_once_have_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start in the middle of making the key gets the same key, never a part of it."""
    path = tmp_path / "secret.key"
    make = secrets.token_bytes
    second: list[bytes] = []

    def meanwhile(count: int) -> bytes:
        monkeypatch.setattr(secrets, "token_bytes", make)
        second.append(load_or_make_key(path))
        return make(count)

    monkeypatch.setattr(secrets, "token_bytes", meanwhile)
    first = load_or_make_key(path)
    assert second == [first]
    assert len(first) == 48


@pytest.mark.parametrize("left", [b"", b"k" * 16])
def test_a_key_that_was_not_written_whole_is_never_used(tmp_path: Path, left: bytes) -> None:
    """A start that died while it made the key leaves no short key to sign with: it is told, or made anew."""
    path = tmp_path / "secret.key"
    path.write_bytes(left)
    with suppress(OSError, ValueError):
        assert len(load_or_make_key(path)) == 48

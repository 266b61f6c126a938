"""Tokens: an access token proves exactly what was signed, a refresh token tells nobody its secret."""

from __future__ import annotations

import base64
import hmac
import json
import pickle
import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_backend.app.auth.keys import KeyRing, key_id
from netra_backend.app.auth.tokens import PAGE_AUDIENCE, REQUIRED, AccessTokens, RefreshToken
from netra_backend.app.services.principal import AuthenticationError, Principal
from tests.support.strategies import ids

KEY = b"k" * 64
TTL = timedelta(minutes=15)
BASE64URL = string.ascii_letters + string.digits + "-_"
NOT_VALID = "the token is not valid; sign in again"


KID = {"kid": key_id(KEY)}


def access_tokens(*keys: bytes, ago: timedelta = timedelta(0)) -> AccessTokens:
    """Tokens of keys, by a clock that is so much behind."""
    return AccessTokens(KeyRing(keys or (KEY,)), TTL, lambda: datetime.now(UTC) - ago)


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, some of them changed; `None` leaves one out."""
    now = int(datetime.now(UTC).timestamp())
    good = {"sub": "ann", "sid": "s1", "iat": now, "nbf": now, "exp": now + 900, "iss": "netra", "aud": "netra-api"}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(**changed: Any) -> str:
    """A token of such claims."""
    return jwt.encode(claims(**changed), KEY, algorithm="HS256", headers=KID)


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
    clocked = AccessTokens(KeyRing([KEY]), TTL, lambda: moment[0])
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
    assert refusal(jwt.PyJWS().encode(payload, KEY, algorithm="HS256", headers=KID)) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_proves_nobody(algorithm: str) -> None:
    """The algorithm is ours to choose, not the token's, even with the right key."""
    token = jwt.encode(claims(), KEY, algorithm=algorithm, headers=KID)
    assert refusal(token) == NOT_VALID
    payload = token.split(".")[1]
    signed_part = f"{segment({'alg': 'HS256', 'typ': 'JWT', **KID})}.{payload}"
    signature = hmac.digest(KEY, signed_part.encode(), f"sha{algorithm[2:]}")
    assert refusal(f"{signed_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}") == NOT_VALID


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "RS256", "ES256", "HS256"])
@pytest.mark.parametrize("signature", ["", "AA", "=", "A" * 43])
def test_an_unsigned_token_proves_nobody(algorithm: str, signature: str) -> None:
    """Whatever algorithm a token names, without the key's signature it proves nobody."""
    header, payload = segment({"alg": algorithm, "typ": "JWT", **KID}), segment(claims())
    assert refusal(f"{header}.{payload}.{signature}") == NOT_VALID
    assert refusal(f"{header}.{payload}") == NOT_VALID


@pytest.mark.parametrize("key", [b"K" * 64, b"k" * 63, b"k" * 65, b"\0" * 64])
def test_another_key_proves_nobody(key: bytes) -> None:
    """A signature of another key is none, whichever key the token names."""
    assert refusal(access_tokens(key).issue("ann", "s1")) == NOT_VALID
    assert refusal(jwt.encode(claims(), key, algorithm="HS256", headers=KID)) == NOT_VALID


@pytest.mark.parametrize(
    "headers", [{}, {"kid": ""}, {"kid": "another"}, {"kid": key_id(KEY).upper()}, {"kid": KEY.decode()}]
)
def test_a_token_names_its_key(headers: dict[str, Any]) -> None:
    """A token that names no key, or one that the server does not have, proves nobody, though it is signed well."""
    assert refusal(jwt.encode(claims(), KEY, algorithm="HS256", headers=headers)) == NOT_VALID


def test_a_key_is_rotated_without_ending_a_session() -> None:
    """The newest key signs, what an older one has signed is good until it is removed, and then proves nobody."""
    new = b"n" * 64
    old_token = access_tokens(KEY).issue("ann", "s1")
    both = access_tokens(new, KEY)
    assert both.verify(old_token).user_id == "ann"
    new_token = both.issue("ann", "s1")
    assert jwt.get_unverified_header(new_token) == {"alg": "HS256", "typ": "JWT", "kid": key_id(new)}
    assert access_tokens(new).verify(new_token).user_id == "ann"
    assert refusal(new_token) == NOT_VALID
    with pytest.raises(AuthenticationError, match=NOT_VALID):
        access_tokens(new).verify(old_token)


def test_a_cookies_token_and_a_headers_are_not_the_same() -> None:
    """What the page's cookie holds is worth nothing in a header, and the other way round."""
    page = AccessTokens(KeyRing([KEY]), TTL, audience=PAGE_AUDIENCE)
    assert refusal(page.issue("ann", "s1")) == NOT_VALID
    with pytest.raises(AuthenticationError, match=NOT_VALID):
        page.verify(access_tokens().issue("ann", "s1"))


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


KEYS = KeyRing([KEY])


def test_a_refresh_token_is_the_same_after_its_trip() -> None:
    """A new token's text parses to an equal one with an equal hash; two of a session differ."""
    first, second = RefreshToken.generate("s1", KEYS), RefreshToken.generate("s1", KEYS)
    assert RefreshToken.parse(str(first)) == first
    assert first.session_id == second.session_id == "s1"
    assert first.hash != second.hash
    assert first.hash == sha256(f"{first.secret}.{first.code}".encode()).hexdigest()
    assert RefreshToken.parse(f"{first}x").hash != first.hash
    assert len(first.secret) >= 43


def test_a_refresh_token_is_known_long_after_it_was_spent() -> None:
    """Whoever issued a token for a session can tell, and nobody can make one for another session out of it."""
    token = RefreshToken.generate("s1", KEYS)
    assert token.was_issued(KEYS)
    assert token.was_issued(KeyRing([b"n" * 64, KEY]))
    assert not token.was_issued(KeyRing([b"n" * 64]))
    for changed in (
        RefreshToken("s2", token.secret, token.code),
        RefreshToken("s1", token.secret + "x", token.code),
        RefreshToken("s1", token.secret, token.code[:-1]),
        RefreshToken("s1", token.secret, ""),
        RefreshToken("s1", token.secret, KEYS.sign("csrf", f"s1.{token.secret}")),
    ):
        assert not changed.was_issued(KEYS)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "s1", "s1.", ".secret", "secret-secret", "s1.secret", "s1.secret.", "s1..x", "s\0.a.b", "s1.a.b\n"],
)
def test_a_text_that_is_no_refresh_token_is_refused(text: str) -> None:
    """A text of another form is refused without being repeated."""
    with pytest.raises(AuthenticationError) as caught:
        RefreshToken.parse(text)
    assert caught.value.reason == "the refresh token is not valid; sign in again"


@given(st.text(st.characters()) | st.lists(st.text(BASE64URL, min_size=1), min_size=3, max_size=3).map(".".join))
@example("s1.\ud800.x")
@example("s1.a.b.c")
def test_any_text_is_a_refresh_token_with_a_hash_or_refused(text: str) -> None:
    """Whatever a client sends, looking it up needs nothing more than AuthenticationError, and it was never issued."""
    with suppress(AuthenticationError):
        parsed = RefreshToken.parse(text)
        assert str(parsed) == text
        assert len(parsed.hash) == 64
        assert not parsed.was_issued(KEYS)


def test_a_refresh_token_hides_its_secret() -> None:
    """A token in a log line or a traceback shows its session only; whoever wants the text asks for `str`."""
    refresh_token = RefreshToken.generate("s1", KEYS)
    for shown in (repr(refresh_token), f"{refresh_token!r}", repr([refresh_token]), f"{[refresh_token]}"):
        assert refresh_token.secret not in shown
        assert refresh_token.code not in shown
        assert "s1" in shown
    assert pickle.loads(pickle.dumps(refresh_token)) == refresh_token

"""Canaries: secrets, and their detection."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_golden_path.canary import Vault, plant, redact

USERS = 50
SECRETS = [plant(7, user) for user in range(USERS)]
VAULT = Vault(enumerate(SECRETS))


def test_same_seed_and_number_give_the_same_secrets() -> None:
    """Secrets follow from the seed and the user's number, and differ when either differs."""
    assert plant(7, 3) == SECRETS[3]
    assert plant(8, 3) != SECRETS[3]
    assert len({secret for secrets in SECRETS for secret in secrets}) == USERS * 6


@given(user=st.integers(0, USERS - 1), which=st.integers(0, 5), before=st.binary(), after=st.binary())
def test_a_secret_is_found_in_any_surroundings(user: int, which: int, before: bytes, after: bytes) -> None:
    """Whatever stands around a secret, it is found and its owner known."""
    secret = list(SECRETS[user])[which]
    assert (user, secret) in {
        (sighting.owner, sighting.secret) for sighting in VAULT.sightings(before + secret.encode() + after)
    }


def test_a_secret_is_found_after_something_of_the_same_beginning() -> None:
    """Markers and shapes that belong to nobody do not hide the secret behind them."""
    for secret in SECRETS[4]:
        for disguise in (b"731", b"731x", b"731731", b"7317310000000", b"731xaaaaaaaaaaaaaaaaaaaa"):
            assert {sighting.owner for sighting in VAULT.sightings(disguise + secret.encode())} == {4}


def test_letter_case_does_not_hide_a_secret() -> None:
    """A secret in upper case is the secret."""
    assert VAULT.foreign(SECRETS[2].label.upper().encode(), user=1)


def test_an_amount_is_found_with_and_without_its_point() -> None:
    """Amounts are found as decimals, as floats and as whole numbers of a small unit."""
    cost = SECRETS[5].costs[0]
    for text in (f"{cost:f}", repr(float(cost)), str(int(cost * 10**18))):
        assert {sighting.owner for sighting in VAULT.sightings(text.encode())} == {5}, text


def test_own_and_foreign_are_told_apart() -> None:
    """A user's own secrets are no leak, and others' are not own."""
    data = f"{SECRETS[1].label} {SECRETS[2].model}".encode()
    assert {sighting.secret for sighting in VAULT.own(data, 1)} == {SECRETS[1].label}
    assert {sighting.secret for sighting in VAULT.foreign(data, 1)} == {SECRETS[2].model}
    assert len(VAULT.foreign(data, 3)) == 2


def test_nothing_is_found_where_nothing_is() -> None:
    """Data without secrets, and secrets that were cut or never planted, are not reported."""
    assert not VAULT.sightings(SECRETS[1].label[:-1].encode())
    assert not VAULT.sightings(plant(8, 1).label.encode())
    assert not VAULT.sightings(base64.b64encode(bytes(range(256)) * 40))


@given(st.text())
def test_redacted_text_holds_no_secret(noise: str) -> None:
    """What is shown after redaction holds no secret, in whatever case."""
    text = noise.join(f"{secret}{secret.upper()}" for secret in SECRETS[9])
    assert not VAULT.sightings(redact(text).encode(errors="replace"))


def test_two_owners_of_one_secret_are_refused() -> None:
    """Secrets that do not tell users apart are refused, with the remedy."""
    with pytest.raises(ValueError, match="choose another seed"):
        Vault([(1, SECRETS[1]), (2, SECRETS[1])])


def test_secrets_do_not_show_in_a_sighting() -> None:
    """A sighting names the owner and not the secret."""
    (sighting,) = VAULT.foreign(SECRETS[2].label.encode(), 1)
    assert SECRETS[2].label not in str(sighting)
    assert "user 2" in str(sighting)

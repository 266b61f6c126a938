"""Keys: made once, rotated without ending a session, and read by nobody else."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest

from netra_backend.app.auth.keys import MAX_KEYS, KeyRing, key_id, load_or_make_keys, read_keys, retire, rotate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "secret.key"


def test_the_first_start_makes_one_key(path: Path, tmp_path: Path) -> None:
    """The first start makes 48 random bytes that only the owner can read, whatever the umask; later ones read them."""
    before = os.umask(0)
    try:
        keys = load_or_make_keys(path)
    finally:
        os.umask(before)
    assert len(path.read_bytes()) == 48
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_keys(path).ids == keys.ids == (key_id(path.read_bytes()),)
    assert load_or_make_keys(tmp_path / "another.key").ids != keys.ids
    assert {file.name for file in tmp_path.iterdir()} == {"secret.key", "another.key"}


def test_two_servers_that_start_at_once_have_one_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start in the middle of making the key gets the same key, never a part of it."""
    make = secrets.token_bytes
    second: list[KeyRing] = []

    def meanwhile(count: int) -> bytes:
        monkeypatch.setattr(secrets, "token_bytes", make)
        second.append(load_or_make_keys(path))
        return make(count)

    monkeypatch.setattr(secrets, "token_bytes", meanwhile)
    first = load_or_make_keys(path)
    assert [ring.ids for ring in second] == [first.ids]


@pytest.mark.parametrize("left", [b"", b"k" * 16, b"k" * 49, b"k" * 48 * (MAX_KEYS + 1)])
def test_a_file_that_was_not_written_whole_is_never_used(path: Path, left: bytes) -> None:
    """A file that holds no whole keys signs nothing, and what to do is told."""
    path.touch(mode=0o600)
    path.write_bytes(left)
    for act in (load_or_make_keys, rotate, retire):
        with pytest.raises(ValueError, match="expected keys of 48; delete it"):
            act(path)
    assert path.read_bytes() == left


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    """A key that others may have read signs nothing until somebody has seen to it; what to do is told."""
    load_or_make_keys(path)
    path.chmod(mode)
    with pytest.raises(ValueError, match=f"mode 0{mode:o}.*expected 0600.*chmod 600"):
        load_or_make_keys(path)
    path.chmod(0o600)
    load_or_make_keys(path)


def test_a_rotation_puts_a_new_key_before_the_others(path: Path) -> None:
    """After a rotation the new key signs and the old ones verify; after retiring only the newest is left."""
    first = load_or_make_keys(path)
    code = first.sign("refresh", "text")
    second = rotate(path)
    assert second.ids[1:] == first.ids
    assert second.newest == second.ids[0]
    assert second.newest not in first.ids
    assert second.signed("refresh", "text", code)
    assert not first.signed("refresh", "text", second.sign("refresh", "text"))
    assert load_or_make_keys(path).ids == read_keys(path).ids == second.ids
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    third = retire(path)
    assert third.ids == load_or_make_keys(path).ids == (second.newest,)
    assert not third.signed("refresh", "text", code)
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_keys_do_not_add_up_for_ever(path: Path) -> None:
    """A file that is full of keys takes no more, and says what to do."""
    load_or_make_keys(path)
    for _ in range(MAX_KEYS - 1):
        rotate(path)
    with pytest.raises(ValueError, match="netra keys retire"):
        rotate(path)
    assert len(read_keys(path).ids) == MAX_KEYS


def test_there_is_nothing_to_rotate_before_the_first_start(path: Path) -> None:
    """Without a file there is nothing to act on, and none is made."""
    for act in (rotate, retire, read_keys):
        with pytest.raises(ValueError, match="a server makes it at its first start"):
            act(path)
    assert not path.exists()


def test_a_code_is_good_for_its_purpose_only() -> None:
    """What was signed for one purpose, or of another text, proves nothing for another; a ring shows no key."""
    keys = KeyRing([b"k" * 48])
    code = keys.sign("csrf", "s1")
    assert keys.signed("csrf", "s1", code)
    for purpose, text, other in (
        ("refresh", "s1", code),
        ("csrf", "s2", code),
        ("csrf", "s1", ""),
        ("csrf", "s1", "x"),
    ):
        assert not keys.signed(purpose, text, other)
    assert "kkk" not in repr(keys)
    assert keys.get(5) is keys.get(None) is keys.get("") is None

"""The settings: fail closed, and never repeat a secret."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from netra_backend.app.config import MIN_SECRET_KEY_CHARACTERS, Settings

KEY = "k3y-" * 12
PUBLIC = {"host": "0.0.0.0", "secret_key": KEY, "allowed_origins": "https://app.example.org"}  # noqa: S104 the promise


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests do not count."""
    import os

    for name in [name for name in os.environ if name.upper().startswith("NETRA_")]:
        monkeypatch.delenv(name)


def settings(**values: Any) -> Settings:
    """Settings of these values, as a command's options or the environment's texts give them."""
    return Settings(**values)


def fault(**values: Any) -> str:
    """What is told of settings that make no sense."""
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    return "; ".join(error["msg"] for error in caught.value.errors())


def test_without_configuration_only_this_machine_is_served() -> None:
    """The defaults bind loopback, need no key, allow no other site, and let whoever is here register."""
    plain = settings()
    assert (plain.host, plain.is_loopback, plain.registration_is_open) == ("127.0.0.1", True, True)
    assert (plain.secret_key, plain.allowed_origins, plain.metrics_token) == (None, (), None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "0:0:0:0:0:0:0:1", "localhost"])
def test_loopback_is_known_in_every_spelling(host: str) -> None:
    """An address that only this machine reaches needs no key."""
    assert settings(host=host).is_loopback


PUBLIC_HOSTS = [
    "0.0.0.0",  # noqa: S104 the promise
    "::",
    "",
    "192.168.1.10",
    "2001:db8::1",
    "netra.example.org",
    "localhost.example.org",
    "127.0.0.1.example.org",
    " 127.0.0.1",
    "[::1]",
    "0",
]


@pytest.mark.parametrize("host", PUBLIC_HOSTS)
def test_a_public_address_needs_a_key_and_origins(host: str) -> None:
    """Whatever is not surely loopback is refused without an explicit key and origins, with what to set and do."""
    told = fault(host=host)
    assert "NETRA_SECRET_KEY and NETRA_ALLOWED_ORIGINS" in told
    assert "--host 127.0.0.1" in told
    assert "NETRA_SECRET_KEY" not in fault(host=host, secret_key=KEY)
    assert "NETRA_ALLOWED_ORIGINS" in fault(host=host, secret_key=KEY)
    assert "NETRA_ALLOWED_ORIGINS" not in fault(host=host, allowed_origins="https://app.example.org")
    assert "NETRA_ALLOWED_ORIGINS" in fault(host=host, secret_key=KEY, allowed_origins=" , ")
    assert settings(**{**PUBLIC, "host": host}).host == host


def test_registration_is_closed_in_public_unless_it_is_opened() -> None:
    """Strangers may register on loopback, and elsewhere only where somebody has said so."""
    assert not settings(**PUBLIC).registration_is_open
    assert settings(**PUBLIC, open_registration=True).registration_is_open
    assert not settings(open_registration=False).registration_is_open


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 the promise
@pytest.mark.parametrize("key", ["", "x", "short-secret-key", "k" * (MIN_SECRET_KEY_CHARACTERS - 1)])
def test_a_short_key_is_refused_everywhere(host: str, key: str) -> None:
    """A key that can be guessed is refused, on loopback too, with how to make a good one."""
    told = fault(**{**PUBLIC, "host": host, "secret_key": key})
    assert "NETRA_SECRET_KEY: expected at least 32 characters" in told
    assert "token_urlsafe" in told


def test_a_key_of_the_least_length_is_taken() -> None:
    """The limit itself is within it."""
    key = settings(secret_key="k" * MIN_SECRET_KEY_CHARACTERS).secret_key
    assert key is not None
    assert key.get_secret_value() == "k" * MIN_SECRET_KEY_CHARACTERS


@pytest.mark.parametrize(
    "values",
    [
        {"host": "0.0.0.0", "secret_key": KEY},  # noqa: S104 the promise
        {"secret_key": KEY[:20]},
        {"secret_key": KEY, "port": -1},
        {"secret_key": KEY, "metrics_token": KEY, "max_connections": 0},
        {"secret_key": [KEY]},
        {"secret_kye": KEY},
    ],
)
def test_no_error_repeats_a_secret(values: dict[str, Any]) -> None:
    """A server that refuses to start prints what is wrong, in a traceback if need be, and never the key."""
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    assert KEY[:12] not in str(caught.value)
    assert KEY[:12] not in repr(caught.value)


def test_settings_can_be_shown() -> None:
    """Secrets are masked wherever settings are printed."""
    shown = settings(secret_key=KEY, metrics_token=KEY)
    for text in (repr(shown), str(shown), str(shown.model_dump()), shown.model_dump_json()):
        assert KEY[:12] not in text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ()),
        (" , ,", ()),
        ("{}a.example", ("{}a.example",)),
        ("{}a.example,{}b.example", ("{}a.example", "{}b.example")),
        (" {}a.example , {}b.example ,", ("{}a.example", "{}b.example")),
        (("{}a.example", "{}b.example"), ("{}a.example", "{}b.example")),
    ],
)
@pytest.mark.parametrize(("name", "scheme"), [("allowed_origins", "https://"), ("allowed_hosts", "")])
def test_lists_are_split_at_commas(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str, text: str | tuple[str, ...], value: tuple[str, ...]
) -> None:
    """A list is written with commas, with or without spaces, as an option and in the environment."""
    value = tuple(part.replace("{}", scheme) for part in value)
    text = text.replace("{}", scheme) if isinstance(text, str) else value
    assert getattr(settings(**{name: text}), name) == value
    if isinstance(text, str):
        monkeypatch.setenv(f"NETRA_{name.upper()}", text)
        assert getattr(settings(), name) == value


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*", "https://*.example.org", "app.example.org", "null", "https://a.example/app", "ftp://a.example"],
)
def test_an_origin_names_one_site(origin: str) -> None:
    """A wildcard, or what no browser sends as an origin, is refused with what to write instead."""
    assert "expected origins such as https://app.example.org" in fault(allowed_origins=f"https://ok.example,{origin}")


@pytest.mark.parametrize("host", ["*", "*.example.org", "netra.example.org:443", "https://netra.example.org", ""])
def test_a_host_is_one_name(host: str) -> None:
    """A wildcard would let DNS rebinding in; a port or a scheme would match nothing."""
    assert "expected names such as netra.example.org" in fault(allowed_hosts=("ok.example", host))


def test_proxies_are_addresses_or_networks() -> None:
    """Addresses and networks are taken in both families; what would trust everybody, or is none, is refused."""
    trusted = settings(trusted_proxies="127.0.0.1, 10.0.0.0/8,2001:db8::/32").trusted_proxies
    assert [str(network) for network in trusted] == ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]
    for everybody in ("0.0.0.0/0", "::/0", "10.0.0.1,0.0.0.0/0"):
        assert "name the proxies" in fault(trusted_proxies=everybody)
    for nonsense in ("proxy.example.org", "10.0.0.1/8", "*"):
        with pytest.raises(ValidationError, match="trusted_proxies"):
            settings(trusted_proxies=nonsense)


def test_old_keys_are_keys() -> None:
    """Old keys are as long as new ones, come with a new one, and are not shown; each refusal says what to do."""
    old = settings(secret_key=KEY, old_secret_keys=f"{KEY[::-1]},{'o' * 40}").old_secret_keys
    assert [key.get_secret_value() for key in old] == [KEY[::-1], "o" * 40]
    assert KEY[::-1][:12] not in repr(settings(secret_key=KEY, old_secret_keys=KEY[::-1]))
    assert "NETRA_OLD_SECRET_KEYS: expected at least 32" in fault(secret_key=KEY, old_secret_keys="short")
    told = fault(old_secret_keys=KEY)
    assert "NETRA_SECRET_KEY to be set too" in told
    assert "netra keys rotate" in told


def test_a_short_metrics_token_is_refused() -> None:
    """A token that can be guessed protects nothing; how to make a good one is told."""
    assert "NETRA_METRICS_TOKEN: expected at least 16" in fault(metrics_token="x" * 15)
    assert "token_urlsafe" in fault(metrics_token="")
    assert settings(metrics_token="x" * 16).metrics_token is not None


def test_an_unknown_option_is_refused() -> None:
    """A misspelled option is told, not ignored."""
    with pytest.raises(ValidationError, match="hots"):
        settings(hots="127.0.0.1")


def test_settings_cannot_be_changed() -> None:
    """What was checked at start stays as it was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        settings().host = "0.0.0.0"  # type: ignore[misc]  # noqa: S104 the promise


def test_the_environment_counts_and_an_option_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is an environment variable `NETRA_…`; what is given as an option overrides it."""
    monkeypatch.setenv("NETRA_PORT", "8123")
    monkeypatch.setenv("NETRA_AGENTS", '{"poet": "poems:Poet"}')
    monkeypatch.setenv("NETRA_ACCESS_TOKEN_TTL", "PT5M")
    monkeypatch.setenv("NETRA_SECRET_KEY", KEY)
    from_environment = settings()
    assert (from_environment.port, from_environment.agents) == (8123, {"poet": "poems:Poet"})
    assert from_environment.access_token_ttl == timedelta(minutes=5)
    assert settings(port=0).port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1), ("port", 65536), ("port", "http"), ("max_connections", 0), ("max_connections_per_user", 0),
        ("max_outbox_frames", 9), ("messages_per_minute", 0), ("max_running_runs", 0), ("max_body_bytes", 1023),
        ("reader_threads", 0), ("password_threads", 0), ("max_event_bytes", 0), ("open_registration", "perhaps"),
        ("max_attempts", 0), ("max_outbox_bytes", 1024), ("max_stored_bytes_per_user", 0), ("loop_alarm", -1),
        ("max_unfinished_runs_per_user", 0), ("max_uncommitted_bytes_per_run", 0), ("stop_grace", -1),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(name: str, value: object) -> None:
    """A limit that would let nothing through is refused by the setting's name."""
    with pytest.raises(ValidationError) as caught:
        settings(**{name: value})
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    "name", ["access_token_ttl", "refresh_token_ttl", "authentication_timeout", "run_timeout", "shutdown_grace"]
)
def test_spans_of_time_are_not_negative(name: str) -> None:
    """A span that has passed before it begins would refuse everybody, or nobody: it is refused at start."""
    with pytest.raises(ValidationError) as caught:
        settings(**{name: timedelta(seconds=-1)})
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_a_level_that_logging_does_not_know_is_refused() -> None:
    """A misspelled level is told as a setting, before anything has started."""
    with pytest.raises(ValidationError) as caught:
        settings(log_level="LOUD")
    assert [error["loc"] for error in caught.value.errors()] == [("log_level",)]


def test_the_database_is_in_the_data_folder_unless_it_is_said(tmp_path: Path) -> None:
    """The default is SQLite in the data folder, by its absolute path."""
    assert settings(data_dir=tmp_path).database == f"sqlite:///{tmp_path.resolve()}/netra.sqlite3"
    assert settings(database_url="sqlite:///elsewhere").database == "sqlite:///elsewhere"


def test_a_password_is_not_taken_for_the_databases_name() -> None:
    """A URL with a slash too many would make the password part of a name that is shown: it is refused, and not told."""
    told = fault(database_url="postgresql:///ann:secret-word@host/netra")
    assert "write two" in told
    assert "secret-word" not in told
    for url in ("postgresql:///netra?host=/run/pg", "postgresql://ann:x@/netra?host=/run/pg", "sqlite:////a@b/netra"):
        assert settings(database_url=url).database == url


def test_the_databases_password_is_not_shown() -> None:
    """Settings that end up in a log do not tell the database's URL, which may hold a password."""
    assert "secret-word" not in repr(settings(database_url="postgresql://ann:secret-word@host/netra"))

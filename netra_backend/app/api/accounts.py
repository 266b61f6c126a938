"""Accounts: registering, signing in and out, and who a token proves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import Row

from netra_backend.app.auth.keys import KeyRing
from netra_backend.app.auth.passwords import Passwords
from netra_backend.app.auth.throttle import (
    RegistrationThrottle,
    SignInThrottle,
    TooManyAttemptsError,
    TooManyRegistrationsError,
)
from netra_backend.app.auth.tokens import AccessTokens, RefreshToken
from netra_backend.app.db import system_operations
from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.accounts import AccountRepository
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.services.principal import SESSION_ENDED, AuthenticationError, Principal
from netra_backend.app.services.refusals import LimitExceededError, RefusedError
from netra_backend.app.services.user_execution_context import UserExecutionContext
from netra_backend.app.telemetry import SecurityEvent, tell_security_event

from .client_address import Client

_CSRF = "csrf"


class EmailTakenError(RefusedError):
    """Raised when somebody registers an e-mail that has an account."""

    code = "email_taken"


class RegistrationClosedError(RefusedError):
    """Raised when strangers may not make accounts on this server."""

    code = "registration_closed"


class InvalidCredentialsError(AuthenticationError):
    """Raised when a password is not the account's: nothing is said about the session."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The tokens of a sign-in; `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class PageSession:
    """A sign-in at the built-in page.

    Attributes:
        user_id: who.
        session_id: the sign-in.
        cookie: what the page's cookie is to hold.
        seconds: how long it lasts.
    """

    user_id: str
    session_id: str
    cookie: str
    seconds: int


class Accounts:
    """Who may come in.

    Args:
        database: keeps accounts and sign-ins.
        passwords: hashes.
        keys: sign refresh tokens and the page's codes.
        tokens: issues and verifies access tokens.
        cookies: issues and verifies what the page's cookie holds.
        throttle: counts sign-ins that fail.
        registrations: counts the accounts that strangers make.
        connections: those of a sign-in end with it.
        refresh_ttl: how long a sign-in lasts after its last refresh.
        max_sessions: sign-ins of one user; the next one ends the oldest.
        registration_is_open: whether strangers may register.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        keys: KeyRing,
        tokens: AccessTokens,
        cookies: AccessTokens,
        throttle: SignInThrottle,
        registrations: RegistrationThrottle,
        connections: Connections,
        *,
        refresh_ttl: timedelta,
        max_sessions: int,
        registration_is_open: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._keys = keys
        self._tokens = tokens
        self._cookies = cookies
        self._throttle = throttle
        self._registrations = registrations
        self._connections = connections
        self._refresh_ttl = refresh_ttl
        self._max_sessions = max_sessions
        self._registration_is_open = registration_is_open

    async def register(self, email: str, password: str, client: Client) -> tuple[str, datetime]:
        """Make an account.

        Returns:
            The new user's id, and when it was made.

        Raises:
            EmailTakenError: the e-mail has one.
            RegistrationClosedError: strangers may not.
            LimitExceededError: the client has failed too often or made too many accounts, or too many passwords wait.
        """
        if not self._registration_is_open:
            raise RegistrationClosedError("this server does not take new accounts; ask its operator for one")
        user_id, created_at = str(uuid4()), datetime.now(UTC)
        # Trying addresses out is as slow here as at the sign-in.
        with self._attempt(email, client), self._counted(client):
            password_hash = await self._passwords.hash(password, client.network)
            insert = partial(
                system_operations.insert_user,
                user_id=user_id,
                email=email,
                password_hash=password_hash,
                created_at=created_at,
            )
            if not await self._database.writer.run(insert):
                raise EmailTakenError("this e-mail has an account already; sign in instead")
        tell_security_event(SecurityEvent.REGISTERED, address=client.address, user_id=user_id)
        return user_id, created_at

    async def sign_in(self, email: str, password: str, client: Client) -> SignedIn:
        """Begin a session of a program.

        Args:
            email: of the account.
            password: as given.
            client: who asks.

        Raises:
            InvalidCredentialsError: the same for an unknown e-mail and a wrong password.
            LimitExceededError: the client or others have failed too often, or too many passwords wait.
        """
        refresh_token = RefreshToken.generate(str(uuid4()), self._keys)
        user_id = await self._begin_session(email, password, client, refresh_token, self._refresh_ttl)
        return self._signed_in(user_id, refresh_token)

    async def sign_in_page(
        self, email: str, password: str, client: Client, *, replaces: str | None = None
    ) -> PageSession:
        """Begin a session of the built-in page; raises as `sign_in` does.

        Args:
            email: of the account.
            password: as given.
            client: who asks.
            replaces: what the page's cookie held before; that session ends.
        """
        refresh_token = RefreshToken.generate(str(uuid4()), self._keys)  # given to nobody: the cookie is not renewed
        session_id, ttl = refresh_token.session_id, self._cookies.ttl
        user_id = await self._begin_session(email, password, client, refresh_token, ttl)
        if replaces is not None:
            with suppress(AuthenticationError):
                old = self._cookies.verify(replaces)
                await self.sign_out(_context_of(old), old.session_id)
        cookie = self._cookies.issue(user_id, session_id)
        return PageSession(user_id, session_id, cookie, int(ttl.total_seconds()))

    async def _begin_session(
        self, email: str, password: str, client: Client, refresh_token: RefreshToken, ttl: timedelta
    ) -> str:
        with self._attempt(email, client):
            user = await self._database.read(lambda connection: system_operations.find_user_by_email(connection, email))
            is_right = await self._passwords.verify(password, user.password_hash if user else None, client.network)
            if user is None or not is_right or not await self._keep_session(user, refresh_token, ttl):
                known = {"user_id": user.user_id} if user is not None else {}
                tell_security_event(SecurityEvent.SIGN_IN_FAILED, address=client.address, **known)
                raise InvalidCredentialsError("e-mail or password is wrong")
        session_id = refresh_token.session_id
        tell_security_event(
            SecurityEvent.SIGNED_IN, address=client.address, user_id=user.user_id, session_id=session_id
        )
        return str(user.user_id)

    async def _keep_session(self, user: Row[Any], refresh_token: RefreshToken, ttl: timedelta) -> bool:
        """Whether the session is kept: not when the password was changed while it was verified."""
        now = datetime.now(UTC)
        return await self._database.writer.run(
            partial(
                system_operations.insert_session,
                user_id=user.user_id,
                password_hash=user.password_hash,
                session_id=refresh_token.session_id,
                refresh_hash=refresh_token.hash,
                created_at=now,
                expires_at=now + ttl,
                most=self._max_sessions,
            )
        )

    @contextmanager
    def _attempt(self, email: str, client: Client) -> Iterator[None]:
        """An attempt at an account: what tells who tries something counts, whatever else becomes of it does not."""
        try:
            self._throttle.check(client.network, email)
        except TooManyAttemptsError:
            tell_security_event(SecurityEvent.SIGN_IN_THROTTLED, address=client.address)
            raise
        try:
            yield
        except (InvalidCredentialsError, EmailTakenError):
            self._throttle.count(client.network)
            raise
        except BaseException:  # no place to hash, no database, cancelled
            self._throttle.forgive(email)
            raise
        self._throttle.forgive(email)

    @contextmanager
    def _counted(self, client: Client) -> Iterator[None]:
        """An account that is made. Programs of this machine are not counted: who is on it can reach the data anyway."""
        if client.is_direct_loopback:
            yield
            return
        try:
            self._registrations.count(client.network)
        except TooManyRegistrationsError:
            tell_security_event(SecurityEvent.REGISTRATION_THROTTLED, address=client.address)
            raise
        try:
            yield
        except (EmailTakenError, LimitExceededError):  # after anything else it may have been made
            self._registrations.forgive(client.network)
            raise

    async def refresh(self, text: str, client: Client) -> SignedIn:
        """Spend a refresh token for new tokens; raises AuthenticationError, and any spent one ends its session."""
        old = RefreshToken.parse(text)
        new = RefreshToken.generate(old.session_id, self._keys)
        now = datetime.now(UTC)
        rotation = await self._database.writer.run(
            partial(
                system_operations.rotate_refresh_token,
                session_id=old.session_id,
                old_hash=old.hash,
                was_issued=old.was_issued(self._keys),
                new_hash=new.hash,
                now=now,
                expires_at=now + self._refresh_ttl,
            )
        )
        if rotation is None or rotation.is_over:
            if rotation is not None:
                self._connections.close_session(rotation.user_id, old.session_id)
                tell_security_event(
                    SecurityEvent.REFRESH_REUSED,
                    address=client.address,
                    user_id=rotation.user_id,
                    session_id=old.session_id,
                )
            raise AuthenticationError("the refresh token is not valid any more; sign in again")
        return self._signed_in(rotation.user_id, new)

    def _signed_in(self, user_id: str, refresh_token: RefreshToken) -> SignedIn:
        access_token = self._tokens.issue(user_id, refresh_token.session_id)
        return SignedIn(access_token, str(refresh_token), int(self._tokens.ttl.total_seconds()))

    async def authenticate(self, token: str) -> Principal:
        """Who an access token proves, if its session still holds; raises AuthenticationError."""
        return await self._held(self._tokens.verify(token))

    async def authenticate_page(self, cookie: str) -> Principal:
        """Who the page's cookie proves, if its session still holds; raises AuthenticationError."""
        return await self._held(self._cookies.verify(cookie))

    async def _held(self, principal: Principal) -> Principal:
        if not await self.holds(principal):
            raise AuthenticationError(SESSION_ENDED)
        return principal

    def csrf_token(self, session_id: str) -> str:
        """What the page of a session sends in a header, and no other site knows."""
        return self._keys.sign(_CSRF, session_id)

    def is_csrf_token(self, session_id: str, text: str) -> bool:
        """Whether a text is the code of a session."""
        return text.isascii() and self._keys.signed(_CSRF, session_id, text)

    async def holds(self, principal: Principal) -> bool:
        """Whether the session of a token that was good is not over."""
        repository = AccountRepository(_context_of(principal), self._database)
        return await repository.has_session(principal.session_id, datetime.now(UTC))

    async def sign_out(self, context: UserExecutionContext, session_id: str) -> None:
        """End one session: its tokens, its sockets and its streams."""
        await AccountRepository(context, self._database).end_session(session_id)
        self._connections.close_session(context.user_id, session_id)
        tell_security_event(SecurityEvent.SIGNED_OUT, user_id=context.user_id, session_id=session_id)

    async def sign_out_everywhere(self, context: UserExecutionContext) -> None:
        """End every session of the user, this one too."""
        await AccountRepository(context, self._database).end_sessions()
        self._connections.close_user(context.user_id)
        tell_security_event(SecurityEvent.SIGNED_OUT_EVERYWHERE, user_id=context.user_id)

    async def change_password(self, context: UserExecutionContext, current: str, new: str, client: Client) -> None:
        """Set another password and end every session.

        Args:
            context: of the user.
            current: the password that is.
            new: the one that shall be.
            client: who asks.

        Raises:
            InvalidCredentialsError: the current one is wrong, or was changed meanwhile; counts as a sign-in that fails.
            LimitExceededError: too many have failed, or too many passwords wait.
        """
        repository = AccountRepository(context, self._database)
        account = await repository.get()
        about = {"address": client.address, "user_id": context.user_id}
        with self._attempt(account.email, client):
            is_right = await self._passwords.verify(current, account.password_hash, client.network)
            if not is_right or not await repository.change_password(
                account.password_hash, await self._passwords.hash(new, client.network)
            ):
                tell_security_event(SecurityEvent.PASSWORD_CHANGE_FAILED, **about)
                raise InvalidCredentialsError("current_password is wrong")
        self._connections.close_user(context.user_id)
        tell_security_event(SecurityEvent.PASSWORD_CHANGED, **about)

    async def erase(self, context: UserExecutionContext, stop_runs: Callable[[], None]) -> None:
        """Erase the user: from now on nobody can be the user; the sockets end.

        Args:
            context: of the user.
            stop_runs: called before anything of the user can be written again.
        """

        def erased() -> None:
            self._connections.close_user(context.user_id, "the account was erased")
            stop_runs()

        await AccountRepository(context, self._database).erase(erased)
        tell_security_event(SecurityEvent.ACCOUNT_ERASED, user_id=context.user_id)


def _context_of(principal: Principal) -> UserExecutionContext:
    return UserExecutionContext.from_websocket_request(principal.user_id, operation="authenticate")

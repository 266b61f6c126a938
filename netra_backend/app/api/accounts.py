"""Accounts: registering, signing in and out, and who a token proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

from netra_backend.app.auth.passwords import Passwords
from netra_backend.app.auth.tokens import AccessTokens, RefreshToken
from netra_backend.app.db import system_operations
from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.accounts import AccountRepository
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.services.principal import SESSION_ENDED, AuthenticationError, Principal
from netra_backend.app.services.refusals import RefusedError
from netra_backend.app.services.user_execution_context import UserExecutionContext


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


class Accounts:
    """Who may come in.

    Args:
        database: keeps accounts and sign-ins.
        passwords: hashes.
        tokens: issues and verifies access tokens.
        connections: those of a sign-in end with it.
        refresh_ttl: how long a sign-in lasts after its last refresh.
        registration_is_open: whether strangers may register.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        tokens: AccessTokens,
        connections: Connections,
        *,
        refresh_ttl: timedelta,
        registration_is_open: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._connections = connections
        self._refresh_ttl = refresh_ttl
        self._registration_is_open = registration_is_open

    async def register(self, email: str, password: str) -> tuple[str, datetime]:
        """Make an account.

        Returns:
            The new user's id, and when it was made.

        Raises:
            EmailTakenError: the e-mail has one.
            RegistrationClosedError: strangers may not.
        """
        if not self._registration_is_open:
            raise RegistrationClosedError("this server does not take new accounts; ask its operator for one")
        user_id, created_at = str(uuid4()), datetime.now(UTC)
        password_hash = await self._passwords.hash(password)
        insert = partial(
            system_operations.insert_user,
            user_id=user_id,
            email=email,
            password_hash=password_hash,
            created_at=created_at,
        )
        if not await self._database.writer.run(insert):
            raise EmailTakenError("this e-mail has an account already; sign in instead")
        return user_id, created_at

    async def sign_in(self, email: str, password: str) -> SignedIn:
        """Begin a session; raises AuthenticationError, the same for an unknown e-mail and a wrong password."""
        user = await self._database.read(lambda connection: system_operations.find_user_by_email(connection, email))
        if not await self._passwords.verify(password, user.password_hash if user else None) or user is None:
            raise InvalidCredentialsError("e-mail or password is wrong")
        refresh_token = RefreshToken.generate(str(uuid4()))
        now = datetime.now(UTC)
        is_kept = await self._database.writer.run(
            partial(
                system_operations.insert_session,
                user_id=user.user_id,
                password_hash=user.password_hash,
                session_id=refresh_token.session_id,
                refresh_hash=refresh_token.hash,
                created_at=now,
                expires_at=now + self._refresh_ttl,
            )
        )
        if not is_kept:  # the password was changed while it was verified
            raise InvalidCredentialsError("e-mail or password is wrong")
        return self._signed_in(user.user_id, refresh_token)

    async def refresh(self, text: str) -> SignedIn:
        """Spend a refresh token for new tokens; raises AuthenticationError, and a spent one ends its session."""
        old = RefreshToken.parse(text)
        new = RefreshToken.generate(old.session_id)
        now = datetime.now(UTC)
        rotation = await self._database.writer.run(
            partial(
                system_operations.rotate_refresh_token,
                session_id=old.session_id,
                old_hash=old.hash,
                new_hash=new.hash,
                now=now,
                expires_at=now + self._refresh_ttl,
            )
        )
        if rotation is None or rotation.is_over:
            if rotation is not None:
                self._connections.close_session(rotation.user_id, old.session_id)
            raise AuthenticationError("the refresh token is not valid any more; sign in again")
        return self._signed_in(rotation.user_id, new)

    def _signed_in(self, user_id: str, refresh_token: RefreshToken) -> SignedIn:
        access_token = self._tokens.issue(user_id, refresh_token.session_id)
        return SignedIn(access_token, str(refresh_token), int(self._tokens.ttl.total_seconds()))

    async def authenticate(self, token: str) -> Principal:
        """Who an access token proves, if its session still holds; raises AuthenticationError."""
        principal = self._tokens.verify(token)
        if not await self.holds(principal):
            raise AuthenticationError(SESSION_ENDED)
        return principal

    async def holds(self, principal: Principal) -> bool:
        """Whether the session of a token that was good is not over."""
        context = UserExecutionContext.from_websocket_request(principal.user_id, operation="authenticate")
        repository = AccountRepository(context, self._database)
        return await repository.has_session(principal.session_id, datetime.now(UTC))

    async def sign_out(self, context: UserExecutionContext, session_id: str) -> None:
        """End one session, its tokens and its sockets."""
        await AccountRepository(context, self._database).end_session(session_id)
        self._connections.close_session(context.user_id, session_id)

    async def change_password(self, context: UserExecutionContext, current: str, new: str) -> None:
        """Set another password and end every session; raises AuthenticationError for a wrong current one."""
        repository = AccountRepository(context, self._database)
        if not await self._passwords.verify(current, (await repository.get()).password_hash):
            raise InvalidCredentialsError("current_password is wrong")
        await repository.change_password(await self._passwords.hash(new))
        self._connections.close_user(context.user_id)

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

"""What Netra refuses, with the code a client can act on."""

from __future__ import annotations

from typing import ClassVar


class RefusedError(Exception):
    """Raised when a request is understood and not done. The message is for the client and names no secret."""

    code: ClassVar[str] = "refused"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequestError(RefusedError):
    """Raised when a field of a request is not what it must be.

    Attributes:
        client_message_id: the client's own id of the message that it was to be, when it can be read.
    """

    code = "invalid_request"

    def __init__(self, message: str, *, code: str = "invalid_request", client_message_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # narrower than the class's: which field or form it was
        self.client_message_id = client_message_id

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_invalid_request, (self.message, self.code, self.client_message_id)


def _restore_invalid_request(message: str, code: str, client_message_id: str | None) -> InvalidRequestError:
    return InvalidRequestError(message, code=code, client_message_id=client_message_id)


class NotFoundError(RefusedError):
    """Raised when the user has no such thing: it does not exist, or it is another's, which is the same."""

    code = "not_found"

    def __init__(self, message: str = "there is no such thing here") -> None:
        super().__init__(message)


class ThreadExistsError(RefusedError):
    """Raised when a thread is to be made under an id that the user has a thread of already."""

    code = "thread_exists"

    def __init__(self, message: str = "you have a thread of this id already, or it is still being erased") -> None:
        super().__init__(message)


class ThreadBusyError(RefusedError):
    """Raised when a message asked to be rejected if its thread was busy, and it was."""

    code = "thread_busy"


class MessageReusedError(RefusedError):
    """Raised when a client_message_id comes again with another text: one of the two would be lost."""

    code = "client_message_id_reused"


class LimitExceededError(RefusedError):
    """Raised when a user asks for more than the settings grant.

    Attributes:
        retry_after: seconds after which to try again; where only time or this user's own runs hold it up, it works then
            at the latest. None when that depends on what the user does.
    """

    code = "limit_exceeded"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(LimitExceededError):
    """Raised when a user sends messages faster than the settings grant."""

    code = "rate_limited"


class TooManyRunsError(LimitExceededError):
    """Raised when a user has as many unfinished runs as the settings grant."""

    code = "too_many_runs"


class TooMuchStoredError(LimitExceededError):
    """Raised when a user has as many bytes stored as the settings grant."""

    code = "too_much_stored"


class StaleRunError(RefusedError):
    """Raised when a run is written to that has ended, was taken over, or is no more: the writer must stop."""

    code = "stale_run"


class EventRefusedError(Exception):
    """Raised when an event of a run cannot be stored, now or ever: the run fails.

    Attributes:
        reason: the name of the database's error; its words may hold anything.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the database refuses an event of the run, and would refuse it again ({self.reason})"


class ShuttingDownError(RefusedError):
    """Raised when a message comes while the server drains: nothing was stored; the next server takes it."""

    code = "shutting_down"

    def __init__(self, message: str = "the server is going away; send the message again in a moment") -> None:
        super().__init__(message)
        self.retry_after = 1.0

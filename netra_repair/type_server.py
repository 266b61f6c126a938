"""The type server of Pyrefly: tells what an expression is, over the Type Server Protocol.

JSON-RPC 2.0 with the framing of the language server protocol, on the standard streams of a process of its own.
"""

from __future__ import annotations

import codecs
import json
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from netra_repair.engine import Engine, configuration
from netra_repair.errors import CheckerError
from netra_repair.inferred import (
    ClassType,
    FunctionType,
    InferredType,
    ModuleType,
    UnionType,
    UnknownType,
    VariableType,
)
from netra_repair.project import Project
from netra_repair.source import Source, Span

_PROTOCOL = "0.4."  # before 1.0 each second number may bring a change

_ANSWERS_WITHIN = 120.0  # the first question loads what the file imports
_ENDS_WITHIN = 5.0

_TYPE_OF = "typeServer/getComputedType"
_SNAPSHOT_OUTDATED = -32802  # of the protocol
_ADDED, _EDITED, _REMOVED = 1, 2, 3  # of the language server protocol

# As the protocol numbers them: a declaration in a source, and flags of types. The kinds stand in `_inferred`.
_REGULAR = 0
_CLASS_OBJECT, _LITERAL = 1, 8
_NOWHERE = {edge: {"line": 0, "character": 0} for edge in ("start", "end")}
NOTHING = UnknownType("the code is unreachable, or there is no expression")
_BUILTINS = {"any": "its type is Any", "never": "the code is unreachable"}


class TypeServer:
    """A running type server for one project; starts with the first question.

    Args:
        project: the project.

    Raises:
        CheckerError: when no Pyrefly of a known version is installed.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._engine = Engine.installed()
        self._connection: _Connection | None = None
        self._snapshot = 0
        self._asked: dict[tuple[str, Span], int] = {}  # the numbers of questions that were sent ahead
        self._files = frozenset(project.sources)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server's process, if there is one."""
        connection, self._connection = self._connection, None
        self._asked.clear()
        if connection is not None:
            connection.close()

    def type_of(self, source: Source, span: Span) -> InferredType:
        """Tells what an expression is.

        Args:
            source: the file, as it lies on disk.
            span: the expression, without parentheses around it.

        Returns:
            Its type.

        Raises:
            CheckerError: when the server does not start, dies, does not answer in time, or speaks another protocol.
        """
        connection = self._started()
        self.ask_ahead(source, [span])
        answer = connection.answer(self._asked.pop((source.path, span)), _TYPE_OF)
        if answer.get("error", {}).get("code") == _SNAPSHOT_OUTDATED:
            self._snapshot = connection.result("typeServer/getSnapshot", None)
            answer = connection.ask(_TYPE_OF, self._question(source, span))
        said = connection.result_of(answer, _TYPE_OF)
        try:
            return _inferred(said)
        except (LookupError, TypeError, ValueError) as error:
            raise connection.failure(f"answers what is not understood ({error!r})") from error

    def ask_ahead(self, source: Source, spans: Iterable[Span]) -> None:
        """Sends questions whose answers will be wanted: the server works on them meanwhile.

        Args:
            source: the file, as it lies on disk.
            spans: the expressions, as for `type_of`.

        Raises:
            CheckerError: as `type_of`.
        """
        connection = self._started()
        for span in spans:
            if (source.path, span) not in self._asked:
                self._asked[source.path, span] = connection.send(_TYPE_OF, self._question(source, span))

    def _question(self, source: Source, span: Span) -> dict[str, Any]:
        start, end = source.utf16(span.start), source.utf16(span.end)
        if source.data.startswith(codecs.BOM_UTF8):  # which the server counts as a character of the first line
            start, end = ((line, character + (line == 0)) for line, character in (start, end))
        place = {
            "uri": (self._project.root / source.path).as_uri(),
            "range": {edge: {"line": at[0], "character": at[1]} for edge, at in (("start", start), ("end", end))},
        }
        return {"arg": place, "snapshot": self._snapshot}

    def changed(self, paths: Iterable[str]) -> None:
        """Tells the server that files have been written; it reads them anew before it answers the next question.

        Args:
            paths: relative to the project's root.

        Raises:
            CheckerError: as `type_of`.
        """
        changes = [{"uri": (self._project.root / path).as_uri(), "type": self._change(path)} for path in paths]
        if self._connection is not None and changes:
            self._connection.drop(self._asked.values())
            self._asked.clear()
            self._connection.tell("workspace/didChangeWatchedFiles", {"changes": changes})
            self._snapshot = self._connection.await_notice("typeServer/snapshotChanged")["new"]

    def _change(self, path: str) -> int:
        """The kind of change, by which the server decides whether to look for modules anew."""
        known, exists = path in self._files, (self._project.root / path).exists()
        self._files = self._files | {path} if exists else self._files - {path}
        return _REMOVED if not exists else _EDITED if known else _ADDED

    def _started(self) -> _Connection:
        if self._connection is None:
            self._connection = connection = _Connection(self._engine, self._project)
            try:
                connection.open(self._project.root)
                self._snapshot = connection.result("typeServer/getSnapshot", None)
            except BaseException:
                self.close()
                raise
        return self._connection


class _Connection:
    """The process and the talk with it."""

    def __init__(self, engine: Engine, project: Project) -> None:
        self._engine = engine
        self._folder = tempfile.TemporaryDirectory(prefix="netra-repair-")
        settings = Path(self._folder.name, "pyrefly.toml")
        settings.write_text(configuration(project, (), ()), encoding="utf-8")
        command = [str(engine.binary), "tsp", "--config", str(settings), "--indexing-mode", "none"]
        self._errors = Path(self._folder.name, "stderr")
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(  # nosec B603  # the checker, by its path
                    command,
                    cwd=project.root,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
        except OSError as error:
            self._folder.cleanup()
            raise CheckerError(f"{engine.binary} does not run: {error}", "install it anew") from error
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe  # nosec B101
        assert self._process.stdout is not None  # noqa: S101 - as above  # nosec B101
        self._input, self._output = self._process.stdin, self._process.stdout
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._sent = 0
        self._open: set[int] = set()
        self._kept: dict[int, dict[str, Any]] = {}
        # A thread, because a read from a pipe knows no time limit. It ends with the process.
        self._reader = threading.Thread(target=_receive, args=(self._output, self._messages), daemon=True)
        self._reader.start()

    def open(self, root: Path) -> None:
        """Shakes hands."""
        folder = {"uri": root.as_uri(), "name": root.name}
        self.result(
            "initialize",
            {"processId": None, "rootUri": root.as_uri(), "workspaceFolders": [folder], "capabilities": {}},
        )
        self.tell("initialized", {})
        version = self.result("typeServer/getSupportedProtocolVersion", None)
        if not str(version).startswith(_PROTOCOL):
            raise self.failure(f"speaks version {version} of the type server protocol; {_PROTOCOL}x is understood")

    def send(self, method: str, params: Any) -> int:
        """Sends a request, and gives its number."""
        self._sent += 1
        self._send({"id": self._sent, "method": method, "params": params})
        self._open.add(self._sent)
        return self._sent

    def answer(self, number: int, method: str) -> dict[str, Any]:
        """Waits for the answer to a request; keeps others for later, and answers the server's own on the way."""
        if number not in self._kept:
            self._kept[number] = self._await(lambda message: _answers(message, number), method)
        self._open.discard(number)
        return self._kept.pop(number)

    def drop(self, numbers: Collection[int]) -> None:
        """Forgets requests whose answers nobody wants any more."""
        self._open.difference_update(numbers)
        for number in numbers:
            self._kept.pop(number, None)

    def ask(self, method: str, params: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        return self.answer(self.send(method, params), method)

    def result(self, method: str, params: Any) -> Any:
        """As `ask`, and takes out the result."""
        return self.result_of(self.ask(method, params), method)

    def result_of(self, answer: dict[str, Any], method: str) -> Any:
        """The result of an answer that must not be an error."""
        if "result" not in answer:
            raise self.failure(f"refuses {method}: {answer.get('error')}")
        return answer["result"]

    def tell(self, method: str, params: Any) -> None:
        """Sends a notification."""
        self._send({"method": method, "params": params})

    def await_notice(self, method: str) -> Any:
        """Waits for a notification and gives its parameters."""
        return self._await(lambda message: message.get("method") == method and "id" not in message, method)["params"]

    def failure(self, what: str) -> CheckerError:
        """What is raised when the server does not do what it should."""
        lines = self._errors.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        remedy = "run the repair again; if it happens again, report it with this text"
        return CheckerError(f"the type server of {self._engine.name} {what}; its last words: {lines[-1]}", remedy)

    def close(self) -> None:
        """Ends the process: it has nothing to save, and would take a second to free what it knows of a large tree."""
        self._process.kill()
        self._process.wait()
        self._close_input()
        self._reader.join(_ENDS_WITHIN)
        self._output.close()
        self._folder.cleanup()

    def _close_input(self) -> None:
        with suppress(OSError):  # what was not sent yet has no reader any more
            self._input.close()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        try:
            self._input.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            self._input.flush()
        except OSError as error:
            raise self.failure(f"cannot be written to ({error.strerror})") from error

    def _await(self, is_meant: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        until = time.monotonic() + _ANSWERS_WITHIN
        while True:
            try:
                message = self._messages.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                raise self.failure(f"gave no {what} within {_ANSWERS_WITHIN:g} s") from None
            if message is None:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_ENDS_WITHIN)
                how = (
                    "stopped speaking" if self._process.returncode is None else f"ended with {self._process.returncode}"
                )
                raise self.failure(f"{how} instead of giving {what}")
            if is_meant(message):
                return message
            if "method" in message and "id" in message:
                self._send({"id": message["id"], "result": None})
            elif message.get("id") in self._open:
                self._kept[message["id"]] = message


def _answers(message: dict[str, Any], number: int) -> bool:
    return message.get("id") == number and "method" not in message


def _receive(stream: IO[bytes], messages: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Reads messages until the stream ends or is no longer one of messages; then puts None."""
    try:
        while header := stream.readline():
            length = 0
            while header.strip():
                name, _, value = header.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
                header = stream.readline()
            messages.put(json.loads(stream.read(length)))
    except (OSError, ValueError):
        pass
    finally:
        messages.put(None)


def _inferred(said: dict[str, Any] | None) -> InferredType:
    if said is None:
        return NOTHING
    match said["kind"]:
        case 0:
            return UnknownType(_BUILTINS.get(said["name"], f"its type is {said['name']}"))
        case 2:
            return _function(said)
        case 3:
            return _class(said)
        case 4:
            return _union(said)
        case 5:
            return ModuleType(said["moduleName"], _file(said["uri"]))
        case 6:
            node = said["declaration"]["node"]
            file = _file(node["uri"])
            is_class_object = bool(said["flags"] & _CLASS_OBJECT)
            return VariableType(said["declaration"]["name"], file, _line(node) if file else None, is_class_object)
        case 7:
            return _function(said["overloads"][0])
        case other:
            return UnknownType(f"its type is of kind {other} in the type server protocol")


def _class(said: dict[str, Any]) -> InferredType:
    declaration = said["declaration"]
    file = _file(declaration["node"]["uri"]) if declaration["kind"] == _REGULAR else None
    if file is None:
        return UnknownType("it is a tuple or a bytes literal")
    # The class of a literal is named without its place.
    line = None if said["flags"] & _LITERAL and declaration["node"]["range"] == _NOWHERE else _line(declaration["node"])
    return ClassType(declaration["name"], file, line, bool(said["flags"] & _CLASS_OBJECT))


def _function(said: dict[str, Any]) -> InferredType:
    declaration = said["declaration"]
    file = _file(declaration["node"]["uri"]) if declaration["kind"] == _REGULAR else None
    if file is None:
        return UnknownType("it is a callable without a definition")
    bound_to = _inferred(said["boundToType"]) if said["boundToType"] is not None else None
    return FunctionType(declaration["name"], file, _line(declaration["node"]), bound_to)


def _union(said: dict[str, Any]) -> InferredType:
    parts: list[InferredType] = []
    for each in said["subTypes"]:
        part = _inferred(each)
        if said["flags"] & _CLASS_OBJECT and isinstance(part, ClassType | VariableType):
            part = replace(part, is_class_object=True)
        parts += part.parts if isinstance(part, UnionType) else (part,)
    distinct = tuple(dict.fromkeys(parts))
    return distinct[0] if len(distinct) == 1 else UnionType(distinct)


def _file(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _line(node: dict[str, Any]) -> int:
    return int(node["range"]["start"]["line"]) + 1

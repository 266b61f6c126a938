"""What a program that a test starts runs first, while it is listened to; and then the environment's own module of this
name, as if this were not there."""

import importlib
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _listen() -> None:
    """Listens where a test runs; the recorder is imported only then, and a fault of it is none of the program's."""
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if test is not None:
        try:
            # By the name of the copy that this file is in.
            recorder = os.path.basename(os.path.dirname(_HERE))
            importlib.import_module(recorder + ".programs").listen(test)
        except Exception:  # noqa: S110  # nosec B110
            pass


def _go_on() -> None:
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _HERE]
    this = sys.modules.pop(__name__)
    try:
        importlib.import_module(__name__)
    except ModuleNotFoundError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = this


_go_on()
_listen()

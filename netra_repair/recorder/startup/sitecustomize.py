"""What a Python program that a test starts loads first: it is listened to, then. The environment's own module of this
name is loaded as well, before; and where it has none, this one says so."""

import importlib
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _listen():
    # type: () -> None
    """Listens in what a test starts; nothing that goes wrong with it is the program's."""
    if "PYTEST_CURRENT_TEST" not in os.environ:
        return
    before = set(sys.modules)
    try:
        recorder = os.path.basename(os.path.dirname(_HERE))  # the name of the copy that this file is in
        importlib.import_module(recorder + ".programs").listen()
    except Exception:  # noqa: S110  # nosec B110
        pass
    # The program's own folder is not in its path yet, and may have an `inspect.py`. Of `threading` there is one only.
    for name in set(sys.modules) - before - {"threading"}:
        del sys.modules[name]


sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _HERE]
del sys.modules[__name__]
try:
    importlib.import_module(__name__)
finally:
    _listen()

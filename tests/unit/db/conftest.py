"""What the tests of this folder are given: a database of either kind, unless a test is about one of them."""

from __future__ import annotations

from tests.support.database import _recycled as _recycled
from tests.support.database import backend as backend
from tests.support.database import database as database

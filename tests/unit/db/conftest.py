"""What the tests of this folder are given."""

from __future__ import annotations

from tests.support.database import database as database

"""Looks for secrets in what git keeps: detect-secrets, held against what `.secrets.baseline` knows to be none.

Its own hook takes a secret that has moved to another line for a change of the baseline; here only the file, the kind
and the secret's hash count.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import configure_settings_from_baseline, get_settings

BASELINE: Final = ".secrets.baseline"
REMEDY: Final = (
    "take it away, and change it wherever it was used; if it is no secret, say so on its line "
    "(`# pragma: allowlist secret`), or run: detect-secrets scan --no-verify --baseline .secrets.baseline"
)

Found = tuple[str, int, str, str]
"""A file, a line, a kind and a hash."""


def _kept() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, text=True)  # noqa: S607  # nosec B603 B607  # git, from the PATH like any tool
    return [name for name in listing.stdout.split("\0") if name and Path(name).is_file()]


def _scan(files: Sequence[str]) -> list[Found]:
    configure_settings_from_baseline(baseline.load_from_file(BASELINE))
    get_settings().disable_filters("detect_secrets.filters.common.is_ignored_due_to_verification_policies")
    secrets = SecretsCollection()
    for file in files:
        secrets.scan_file(file)
    return [(file, secret.line_number, secret.type, secret.secret_hash) for file, secret in secrets]


def find() -> Iterator[Found]:
    """Every secret that the baseline does not know, file by file."""
    known = {
        (file, secret["type"], secret["hashed_secret"])
        for file, secrets in baseline.load_from_file(BASELINE)["results"].items()
        for secret in secrets
    }
    files, workers = _kept(), os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        for found in pool.map(_scan, [files[number :: 4 * workers] for number in range(4 * workers)]):
            for file, line, kind, hashed in sorted(found):
                if (file, kind, hashed) not in known:
                    yield file, line, kind, hashed


def main() -> int:
    """Tell what was found; returns 1 when there is anything."""
    found = list(find())
    for file, line, kind, _ in found:
        print(f"{file}:{line}: {kind}: {REMEDY}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

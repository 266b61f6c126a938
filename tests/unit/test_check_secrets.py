"""The look for secrets in what git keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.git_repository import Repo

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_secrets.py"
KEY = "AKIA" + "QWERTYUIOPASDFGH"  # nobody's, and not written in one piece: this file is looked through, too
ALLOWED = "  # pragma: allowlist secret"


def _check(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT], cwd=root, capture_output=True, text=True, check=False)


def test_a_secret_is_found_wherever_it_has_moved_to(tmp_path: Path) -> None:
    """A secret is told with its file and line and the remedy, without itself; one that is known may move about."""
    repo = Repo(tmp_path)
    repo.write(".secrets.baseline", (ROOT / ".secrets.baseline").read_text())
    repo.commit(mod=f'id = "{KEY}"{ALLOWED}\n')
    assert _check(tmp_path).returncode == 0
    repo.commit(mod=f'# above\nid = "{KEY}"\n')
    found = _check(tmp_path)
    assert found.returncode == 1
    assert "mod.py:2: AWS Access Key" in found.stderr
    assert "allowlist secret" in found.stderr
    assert KEY not in found.stderr
    program = str(Path(sys.executable).with_name("detect-secrets"))
    scan = [program, "scan", "--no-verify", "--baseline", ".secrets.baseline"]
    subprocess.run(scan, cwd=tmp_path, check=True)
    assert _check(tmp_path).returncode == 0
    repo.commit(mod=f'# above\n# and above\nid = "{KEY}"\n')
    assert _check(tmp_path).returncode == 0

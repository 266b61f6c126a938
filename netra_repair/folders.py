"""Folders in which no source of a project is looked for."""

from __future__ import annotations

from netra_repair.journal import FOLDER

# What tools keep for themselves, and make again; and what a version control has.
OF_TOOLS = frozenset(
    f"""{FOLDER} .git .hg .svn .jj .tox .nox .eggs .mypy_cache .pytest_cache .ruff_cache .pyrefly_cache .hypothesis
    .ipynb_checkpoints __pycache__ node_modules""".split()
)
INSTALLED = frozenset({"site-packages", "dist-packages", ".venv"})
# Outputs of builds; but packages are called so too.
BUILT = frozenset({"build", "dist"})
# What marks a folder as an environment with an interpreter of its own: venv and conda.
MARKS_OF_ENVIRONMENTS = frozenset({"pyvenv.cfg", "conda-meta"})

"""Triage: which of a checker's findings need no closer look, because no class that they may be about can be a cause.

Large projects are full of dynamic code, and a checker marks all of it. What it says of a class is only its bare name:
too little to prove anything, but enough to see that every class of that name is out of the question, or that classes of
several names may stand there.
"""

from __future__ import annotations

import builtins
import re

from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind, Diagnostic
from netra_repair.owners import Access, Owner
from netra_repair.refusals import Reason, Refusal

_CLASS = re.compile(r"(?P<access>Class|Object of class) `(?P<name>\w+)` has no")
_UNION = re.compile(r"Object of type `(?P<types>[^`]+)` has no")
_UNKNOWN = "Unknown"  # as the checker names a type that it cannot tell
_ACCESS = {"Class": Access.CLASS, "Object of class": Access.INSTANCE}


class Triage:
    """Rules findings out.

    Args:
        definitions: tells what classes have.
        classes: finds them by name.
    """

    def __init__(self, definitions: Definitions, classes: ClassStatements) -> None:
        self._definitions = definitions
        self._classes = classes
        self._known: dict[tuple[str, Access, str], Refusal | None] = {}

    def ruled_out(self, diagnostic: Diagnostic) -> Refusal | None:
        """Why a finding is no cause, as far as the bare name of its class tells.

        Args:
            diagnostic: the finding.

        Returns:
            The reason; None when it must be looked at.
        """
        if diagnostic.kind is not CauseKind.MISSING_ATTRIBUTE or diagnostic.patch_target:
            return None
        union = _UNION.match(diagnostic.message)
        if union is not None:
            return self._several(union["types"], diagnostic.name)
        said = _CLASS.match(diagnostic.message)
        if said is None:
            return None
        key = said["name"], _ACCESS[said["access"]], diagnostic.name
        if key not in self._known:
            self._known[key] = self._refusal(*key)
        return self._known[key]

    def _several(self, types: str, attribute: str) -> Refusal | None:
        """A refusal where the checker names two classes, or one and something unknown: no single class lacks it."""
        names = {name for name in types.split(" | ") if name != "None"}
        if sum(name == _UNKNOWN or hasattr(builtins, name) or self._classes.has(name) for name in names) < 2:
            return None
        return Refusal(Reason.SOME_OF_A_UNION, f"several types stand left of `.{attribute}`: {types}")

    def of_owner(self, owner: Owner, access: Access | None, attribute: str) -> Refusal | None:
        """Why an attribute that a class or module has not is no cause by itself: only a failing test proves it.

        Args:
            owner: the class or module.
            access: how it is looked up; None when in several ways.
            attribute: what it has not.

        Returns:
            The reason; None when nothing speaks against it.
        """
        if not owner.is_inside:
            return Refusal(Reason.OUTSIDE_THE_PROJECT, f"{owner.name} is not of this project")
        reason = self._definitions.dynamic(owner, access)
        if reason is not None:
            return Refusal(Reason.DYNAMIC_OWNER, f"the attributes of {owner.name} cannot be known: {reason}")
        having = self._classes.inheriting(owner, attribute)
        if having is not None:
            return Refusal(Reason.DYNAMIC_OWNER, f"{having.name}, which inherits from {owner.name}, has `{attribute}`")
        line = self._definitions.elsewhere(owner, attribute)
        if line is not None:
            return Refusal(Reason.UNREACHABLE, f"it is there on another platform or version: {owner.file}:{line}")
        return None

    def _refusal(self, name: str, access: Access, attribute: str) -> Refusal | None:
        owners = self._classes.named(name)
        if owners is None:
            return None
        if not owners:
            return Refusal(Reason.OUTSIDE_THE_PROJECT, f"`{name}` is not of this project")
        refusals = [self.of_owner(owner, access, attribute) for owner in owners]
        return refusals[0] if all(refusals) else None

"""Places that live: a passing test runs them before any change, so that what seems to be missing is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from netra_repair.accounts import SiteKey, key_of
from netra_repair.causes import Proof, RootCause, Site
from netra_repair.failures import SuiteResult
from netra_repair.plan import Plan
from netra_repair.references import Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.scanner import Scanner

# What is one lookup, or one call, of which the tests tell whether it succeeded.
_EVALUATED = (Use.CALL, Use.REFERENCE, Use.DECORATOR)

_MADE = Refusal(Reason.DYNAMIC_OWNER, "a passing test runs this line, so what is missing may be made at run time")


class Living:
    """Knows the places of one project that live.

    Args:
        scanner: of the project, in the state in which the tests ran.
        causes: whose places.
        suite: a run that watched them.
    """

    def __init__(self, scanner: Scanner, causes: Iterable[RootCause], suite: SuiteResult) -> None:
        self._scanner = scanner
        self._suite = suite
        sites = (site for cause in causes for site in cause.sites)
        self._keys: Collection[SiteKey] = {key_of(site) for site in sites if self._is_run(site)}

    def refused(self, plan: Plan) -> dict[SiteKey, Refusal]:
        """The places of a plan that live.

        What is missing there is made at run time; or, where another test died, something comes there that has it.

        Args:
            plan: any, also of a later state: an edit never moves a line.
        """
        found: dict[SiteKey, Refusal] = {}
        for site in (site.site for file in plan.files for site in file.sites if key_of(site.site) in self._keys):
            attribute = site.reference.attribute
            if Proof.TEST not in site.proofs:
                found[key_of(site)] = _MADE
            elif site.proofs == (Proof.TEST,) and site.access is not None and self._scanner.is_defined(attribute):
                found[key_of(site)] = Refusal(
                    Reason.SOME_OF_A_UNION, f"a passing test runs this line too, and something else has `{attribute}`"
                )
        return found

    def _is_run(self, site: Site) -> bool:
        """Whether the lookup or the call itself succeeded; where nobody knows columns, whether its line ran."""
        reference, suite = site.reference, self._suite
        if (reference.path, reference.position.line) not in (suite.executed or ()):
            return False
        if suite.evaluated is None or reference.use not in _EVALUATED or reference.in_string:
            return True
        call = reference.call if site.access is None else None
        end = self._scanner.position(reference.path, (call or reference.name).end)
        return (reference.path, end) in suite.evaluated

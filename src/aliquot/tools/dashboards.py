"""Dashboards: named sets of tools. A chat that names one sees only those tools, whatever else its person may use."""

from collections.abc import Collection, Iterable

from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.platform.settings import DashboardManifest, SettingsError


class UnknownDashboard(InvalidInput):
    code, sentence = "unknown_dashboard", "dashboard: there is no dashboard of this name"


class DashboardNotFound(NotFound):
    code, sentence = "dashboard_not_found", "There is no dashboard of this name."


class Dashboards:
    """The dashboards of this site, in the order they are declared."""

    def __init__(self, manifests: Iterable[DashboardManifest], tools: Collection[str]) -> None:
        """Raises SettingsError for a name given twice and for a tool that does not exist: a typo must not hide a tool in silence."""
        self._manifests: dict[str, DashboardManifest] = {}
        for manifest in manifests:
            if manifest.id in self._manifests:
                raise SettingsError(f"dashboards: {manifest.id!r} is declared twice")
            if unknown := sorted(set(manifest.available_tools) - set(tools)):
                raise SettingsError(f"dashboards: {manifest.id!r} names the tool {unknown[0]!r}, which does not exist")
            self._manifests[manifest.id] = manifest

    def all(self) -> tuple[DashboardManifest, ...]:
        return tuple(self._manifests.values())

    def get(self, name: str) -> DashboardManifest:
        """Raises DashboardNotFound."""
        if name not in self._manifests:
            raise DashboardNotFound
        return self._manifests[name]

    def require(self, name: str | None) -> None:
        """Raises UnknownDashboard when a chat names one that does not exist."""
        if name is not None and name not in self._manifests:
            raise UnknownDashboard

    def tools(self, name: str | None) -> frozenset[str] | None:
        """The tools a chat sees; None for all. A dashboard that no longer exists has none."""
        if name is None:
            return None
        manifest = self._manifests.get(name)
        return frozenset() if manifest is None else frozenset(manifest.available_tools)

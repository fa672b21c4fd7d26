"""Where this process's telemetry goes, decided once from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from nexus_otel._environ import variables
from nexus_otel.config import SettingError, Settings
from nexus_otel.export.destinations import Destination, destination
from nexus_otel.export.hosted import DEFAULT_URL, Account


@dataclass(frozen=True, slots=True)
class Plan:
    """Where telemetry goes.

    Attributes:
        local: Whether spans stay in the local store.
        traces: Where spans are sent, with `logs` and `metrics`.
        others: Names of further exporters of `OTEL_TRACES_EXPORTER`.
        account: Whose runs they are at the hosted service.
    """

    local: bool = False
    traces: Destination | None = None
    logs: Destination | None = None
    metrics: Destination | None = None
    others: tuple[str, ...] = ()
    account: Account | None = None

    @property
    def spools(self) -> bool:
        """Whether anything is written to the spool."""
        return self.local or self.traces is not None

    @property
    def destinations(self) -> list[Destination]:
        """Every destination there is."""
        return [one for one in (self.traces, self.logs, self.metrics) if one is not None]


def own_plan(settings: Settings) -> Plan:
    """Return where spans go on a provider of ours: to the endpoint that is configured, else to the local store.

    Raises:
        SettingError: A destination's variable has none of its values.
    """
    exporters = settings.traces_exporter or ()
    others = tuple(name for name in exporters if name not in ("none", "otlp"))
    traces = destination("TRACES")
    hosted = ("local", "nexus") if settings.api_key else ()
    names = settings.export or (*hosted, *(("otlp",) if traces is not None else ("local",)))
    if settings.export is None and settings.traces_exporter is not None and "otlp" not in exporters:
        names = ()
    if "none" in names:
        return Plan(others=others)
    account = _account(settings) if "nexus" in names else None
    if "otlp" not in names:
        return Plan(local="local" in names, others=others, account=account)
    traces = traces or destination("TRACES", default=True)
    logs = destination("LOGS") if settings.details_event else None
    return Plan("local" in names, traces, logs, _metrics(), others, account)


def _account(settings: Settings) -> Account:
    if not settings.api_key:
        raise SettingError("NEXUS_EXPORT=nexus: expected a key in NEXUS_API_KEY")
    base_url = settings.base_url
    if base_url is not None and urlsplit(base_url).scheme not in {"http", "https"}:
        raise SettingError(f"NEXUS_BASE_URL={base_url.partition('?')[0]!r}: expected an address such as {DEFAULT_URL}")
    return Account.of(settings.api_key, base_url)


def _metrics() -> Destination | None:
    if variables().get("OTEL_METRICS_EXPORTER", "otlp").strip() != "otlp":
        return None
    return destination("METRICS")


def guest_plan(settings: Settings, *, launched: bool) -> Plan:
    """Return where spans of somebody else's provider go besides: nowhere, unless asked for.

    Under the launcher with no endpoint configured the local store takes them: nobody else would keep them.
    """
    names = settings.export
    if names is None:
        names = ("local",) if launched and destination("TRACES") is None else ()
        names = (*names, "nexus") if settings.api_key else names
    if "none" in names or not names:
        return Plan()
    account = _account(settings) if "nexus" in names else None
    return Plan("local" in names, destination("TRACES", default=True) if "otlp" in names else None, account=account)

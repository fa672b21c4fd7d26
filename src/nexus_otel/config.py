"""Every setting, read from the environment in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from nexus_otel._environ import variables
from nexus_otel._private import make_private

CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EVENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
CONTENT_MODES: Final = ("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT")
DESTINATIONS: Final = ("local", "otlp", "nexus", "none")


class NexusError(Exception):
    """Something the user asked for cannot be done; the message names the setting and what to do."""


class SettingError(NexusError):
    """A setting has a value that is not one of its values."""


def _boolean(text: str) -> bool:
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def _choice(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        for value in values:
            if text.strip().lower() == value.lower():
                return value
        raise ValueError(", ".join(values))

    return parse


def _names(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
        if allowed and not set(names) <= set(allowed):
            raise ValueError("a comma list of " + ", ".join(allowed))
        return names

    return parse


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _limits(text: str) -> tuple[tuple[str, int], ...]:
    found = []
    for word in _words(text):
        model, _, tokens = word.rpartition("=")
        if not model.strip() or not tokens.strip().isdecimal() or not int(tokens):
            raise ValueError("a comma list of model=tokens")
        found.append((model.strip(), int(tokens)))
    return tuple(found)


def _levels(text: str) -> tuple[tuple[str, float | tuple[float, ...]], ...]:
    found: list[tuple[str, float | tuple[float, ...]]] = []
    for word in _words(text):
        name, _, value = word.partition("=")
        try:
            numbers = tuple(float(number) for number in value.split("/"))
        except ValueError:
            numbers = (-1.0,)
        if not name.strip() or not all(0 <= number < float("inf") for number in numbers):
            raise ValueError("a comma list of name=number, as docs/findings.md has the names")
        found.append((name.strip().lower(), numbers if len(numbers) > 1 else numbers[0]))
    return tuple(found)


def _number(least: float, kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text.strip())
        except ValueError:
            value = kind(least) - 1
        if not value >= least:
            raise ValueError(f"a {'whole ' if kind is int else ''}number of at least {least:g}")
        return value

    return parse


def _setting(variable: str, parse: Callable[[str], Any], default: Any, meaning: str, values: str) -> Any:
    metadata = {"variable": variable, "parse": parse, "meaning": meaning, "values": values}
    return field(default=default, metadata=metadata)


_TRUE_FALSE = "true, false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; each field knows its variable, its values and what it means."""

    enabled: bool = _setting("NEXUS_ENABLED", _boolean, True, "False: nothing is instrumented", _TRUE_FALSE)
    home: Path | None = _setting("NEXUS_HOME", Path, None, "Folder of the local store", "a folder")
    export: tuple[str, ...] | None = _setting(
        "NEXUS_EXPORT",
        _names(*DESTINATIONS),
        None,
        "Where data goes",
        "comma list of " + ", ".join(DESTINATIONS),
    )
    api_key: str | None = _setting(
        "NEXUS_API_KEY", str, None, "Key of the hosted Nexus service: runs are sent there too", "a key"
    )
    base_url: str | None = _setting(
        "NEXUS_BASE_URL", str, None, "Address of the hosted service, where it is not the usual one", "an address"
    )
    summary: str = _setting(
        "NEXUS_SUMMARY", _choice("auto", "always", "never"), "auto",
        "Summary on stderr at exit; auto: when stderr is a terminal", "auto, always, never",
    )  # fmt: skip
    infer_runs: bool = _setting(
        "NEXUS_INFER_RUNS", _boolean, True, "Agent runs and tool spans for hand-written loops", _TRUE_FALSE
    )
    run_idle_s: float = _setting(
        "NEXUS_RUN_IDLE_S",
        _number(1, float),
        600.0,
        "An inferred run without activity ends after this",
        "seconds",
    )
    detail: str = _setting(
        "NEXUS_DETAIL", _choice("normal", "full"), "normal",
        "full: spans for the inner steps of frameworks too, such as the nodes of a graph", "normal, full",
    )  # fmt: skip
    semconv: str = _setting(
        "NEXUS_SEMCONV", _choice("main", "pkg"), "main",
        "Names of the conventions: their newest text, or what release 1.3b0 of the packages emits", "main, pkg",
    )  # fmt: skip
    structured: bool = _setting(
        "NEXUS_STRUCTURED",
        _boolean,
        False,
        "Messages as structured attributes where the SDK takes them (1.45 and later), not as JSON",
        _TRUE_FALSE,
    )
    disabled: tuple[str, ...] = _setting("NEXUS_DISABLED", _names(), (), "Instrumentors left out", "comma list")
    on_conflict: str = _setting(
        "NEXUS_ON_CONFLICT", _choice("both", "yield"), "both",
        "With another instrumentor on the same library: both record, or ours makes no model spans", "both, yield",
    )  # fmt: skip
    agent_usage: bool = _setting(
        "NEXUS_AGENT_USAGE", _boolean, False, "Standard usage attributes on agent spans too", _TRUE_FALSE
    )
    openai_stream_usage: bool = _setting(
        "NEXUS_OPENAI_STREAM_USAGE", _boolean, False,
        "Streams of OpenAI's completions: ask for the usage where the application does not, and keep it from it",
        _TRUE_FALSE,
    )  # fmt: skip
    error_messages: bool = _setting(
        "NEXUS_ERROR_MESSAGES",
        _boolean,
        False,
        "Messages of exceptions even when content is off",
        _TRUE_FALSE,
    )
    max_attribute_bytes: int = _setting(
        "NEXUS_MAX_ATTRIBUTE_BYTES",
        _number(256, int),
        262_144,
        "Longest content attribute sent over OTLP",
        "bytes",
    )
    max_span_bytes: int = _setting(
        "NEXUS_MAX_SPAN_BYTES",
        _number(1024, int),
        1_048_576,
        "Most content of one span sent over OTLP",
        "bytes",
    )
    redact: str | None = _setting(
        "NEXUS_REDACT",
        str,
        None,
        "A file of further patterns to redact, a regular expression a line",
        "a file",
    )
    hash_key: str | None = _setting("NEXUS_HASH_KEY", str, None, "Key of the hashes; same key, same hashes", "text")
    store_max_mb: int = _setting("NEXUS_STORE_MAX_MB", _number(1, int), 512, "Size of the local store", "megabytes")
    store_keep_days: float = _setting(
        "NEXUS_STORE_KEEP_DAYS", _number(0, float), 7.0, "How long the local store keeps a run", "days"
    )
    durability: str = _setting(
        "NEXUS_DURABILITY", _choice("sync", "batch", "memory"), "sync",
        "Spans written as they start and end, within 50 ms, or only sent", "sync, batch, memory",
    )  # fmt: skip
    exit_timeout_s: float = _setting(
        "NEXUS_EXIT_TIMEOUT_S",
        _number(0, float),
        1.0,
        "How long the exit may wait for the collector",
        "seconds",
    )
    watcher: str = _setting(
        "NEXUS_WATCHER", _choice("auto", "off"), "auto",
        "auto: where there is an endpoint, a small process beside a launched program sends what a killed one left",
        "auto, off",
    )  # fmt: skip
    content: str | None = _setting(
        CONTENT_VARIABLE, _choice(*CONTENT_MODES), None,
        "Prompts, answers, tool arguments and results in what is sent", ", ".join(CONTENT_MODES),
    )  # fmt: skip
    max_steps: int | None = _setting(
        "NEXUS_MAX_STEPS", _number(1, int), None, "A run's next model call after this many raises", "a number"
    )
    max_tokens: int | None = _setting(
        "NEXUS_MAX_TOKENS", _number(1, int), None, "The same after this many tokens", "a number"
    )
    max_cost: float | None = _setting(
        "NEXUS_MAX_COST", _number(0, float), None, "The same after this cost, with the extra `cost`", "US dollars"
    )
    on_loop: str = _setting(
        "NEXUS_ON_LOOP", _choice("warn", "raise"), "warn", "raise: a run in a loop raises likewise", "warn, raise"
    )
    context_limits: tuple[tuple[str, int], ...] = _setting(
        "NEXUS_CONTEXT_LIMITS", _limits, (),
        "Input tokens that models take, by the beginning of their names: before the table that there is",
        "comma list of model=tokens",
    )  # fmt: skip
    note_tools: tuple[str, ...] = _setting(
        "NEXUS_NOTE_TOOLS", _words, (), "Further tools without effect, such as `think`: no loop is made of them",
        "comma list of names",
    )  # fmt: skip
    slow_ok: tuple[str, ...] = _setting(
        "NEXUS_SLOW_OK", _words, (), "Tools and models that may take long: no latency spike", "comma list of names"
    )
    thresholds: tuple[tuple[str, float | tuple[float, ...]], ...] = _setting(
        "NEXUS_THRESHOLDS", _levels, (), "When what is seen becomes a finding, as in `loop_calls=4,hard_tool_s=120`",
        "comma list of name=number, the names of [docs/findings.md](docs/findings.md)",
    )  # fmt: skip
    user_id: str | None = _setting("NEXUS_USER_ID", str, None, "On every span: `user.id`", "text")
    session_id: str | None = _setting("NEXUS_SESSION_ID", str, None, "On every span: `session.id`", "text")
    environment: str | None = _setting(
        "NEXUS_ENVIRONMENT", str, None, "On every span: `deployment.environment.name`", "text"
    )
    agent_version: str | None = _setting(
        "NEXUS_AGENT_VERSION", str, None, "On every span: `gen_ai.agent.version`", "text"
    )
    git_sha: str | None = _setting(
        "GIT_SHA", str, None, "On every span: `vcs.ref.head.revision`; found in `.git` when not set", "a commit"
    )
    baggage: tuple[str, ...] = _setting(
        "NEXUS_BAGGAGE", _words, (), "Metadata that travels to other processes as W3C baggage", "comma list of keys"
    )
    emit_event: bool | None = _setting(
        EVENT_VARIABLE, _boolean, None, "Log event with the details of each model call", _TRUE_FALSE
    )
    otel_disabled: bool = _setting("OTEL_SDK_DISABLED", _boolean, False, "True: wholly inert", _TRUE_FALSE)
    traces_exporter: tuple[str, ...] | None = _setting(
        "OTEL_TRACES_EXPORTER", _names(), None, "Standard: none, console, otlp", "comma list"
    )
    service_name: str | None = _setting("OTEL_SERVICE_NAME", str, None, "Name of the agent and service", "text")

    @property
    def content_on_spans(self) -> bool:
        """Whether content may ride on span attributes."""
        return self.content in {"SPAN_ONLY", "SPAN_AND_EVENT"}

    @property
    def content_on_events(self) -> bool:
        """Whether content may ride on log events."""
        return self.content in {"EVENT_ONLY", "SPAN_AND_EVENT"}

    @property
    def details_event(self) -> bool:
        """Whether each model call emits the log event with its details."""
        return self.content_on_events if self.emit_event is None else self.emit_event

    def with_options(self, **options: Any) -> Settings:
        """Return these settings with `options` in place of the environment's.

        Raises:
            SettingError: An option does not exist or has none of its values.
        """
        known = {f.name: f for f in settings_table()}
        for name, value in options.items():
            if name not in known:
                raise SettingError(f"no setting {name!r}; there are: {', '.join(known)}")
            if isinstance(value, str):
                options[name] = _parsed(known[name].metadata, value, name)
        return replace(self, **options)


def settings_table() -> list[Any]:
    """Return the dataclass fields that are settings, in the order of the documentation."""
    return [f for f in fields(Settings) if f.metadata]


def _parsed(metadata: Mapping[str, Any], text: str, name: str) -> Any:
    try:
        return metadata["parse"](text)
    except ValueError as error:
        raise SettingError(f"{name}={text!r}: expected {error}") from None


def from_env(environment: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """Read the settings from the environment.

    Args:
        environment: The variables; the process's own when not given.

    Returns:
        The settings, with the default where a value is none of the allowed ones, and one line per such value.
    """
    environment = variables() if environment is None else environment
    values: dict[str, Any] = {}
    problems: list[str] = []
    for entry in settings_table():
        text = environment.get(entry.metadata["variable"])
        if text is None or not text.strip():
            continue
        try:
            values[entry.name] = _parsed(entry.metadata, text, entry.metadata["variable"])
        except SettingError as error:
            problems.append(str(error))
    if "nexus" in (values.get("export") or ()) and not values.get("api_key"):
        problems.append(f"NEXUS_EXPORT={','.join(values.pop('export'))!r}: expected a key in NEXUS_API_KEY for nexus")
    return Settings(**values), problems


def otlp_variable(signal: str, what: str) -> str | None:
    """Return `OTEL_EXPORTER_OTLP_{SIGNAL_}{WHAT}`: the signal's own variable wins over the general one.

    Args:
        signal: TRACES, LOGS or METRICS.
        what: ENDPOINT, HEADERS, TIMEOUT, COMPRESSION, PROTOCOL, CERTIFICATE, CLIENT_KEY, CLIENT_CERTIFICATE.
    """
    environment = variables()
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        if value := environment.get(name, "").strip():
            return value
    return None


_current: Settings | None = None
_given = False
_said: list[str] = []


def current() -> Settings:
    """Return the settings in force; read from the environment at the first call."""
    global _current
    if _current is None:
        _current, problems = from_env()
        _said.extend(problems)
    return _current


def use(settings: Settings | None) -> None:
    """Put `settings` in force, whatever the environment says; None: the environment counts again."""
    global _current, _given
    _current, _given = settings, settings is not None


def refresh() -> Settings:
    """Return the settings in force, those of the environment read again: it may have changed since."""
    if not _given:
        use(None)
    return current()


def problems() -> list[str]:
    """Return the lines about settings that fell back to their default, once."""
    current()
    found, _said[:] = list(_said), []
    return found


def disabled_instrumentations() -> frozenset[str]:
    """Return the names in the standard `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`."""
    text = variables().get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def resource_service_name() -> str | None:
    """Return `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, if it is there."""
    for pair in variables().get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, _, value = pair.partition("=")
        if name.strip() == "service.name" and value.strip():
            return unquote(value.strip())
    return None


_random_key: bytes | None = None


def hash_key() -> bytes:
    """Return the key of the hashes: `NEXUS_HASH_KEY`, else a file in the store's folder, else random per process."""
    global _random_key  # noqa: PLW0603 - one process, one key
    chosen = current().hash_key
    if chosen:
        return chosen.encode()
    if _random_key is None:
        _random_key = _key_file(home() / "hash.key") or os.urandom(16)
    return _random_key


def _key_file(path: Path) -> bytes | None:
    """Return the key in `path`, made if it is not there; None where that cannot be done."""
    try:
        make_private(path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_bytes()[:64] or None
        key = os.urandom(16)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
    except OSError:
        return None
    return key


def home() -> Path:
    """Return the folder of the local store; it need not exist."""
    chosen = current().home
    if chosen is not None:
        return chosen.expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("nexus-otel", appauthor=False))

"""Another's tracer provider: whoever set it, however and whenever, a run arrives whole and once, and nobody speaks."""

from dataclasses import replace

import pytest

from tests.e2e.kit import LAUNCHER, OTEL_LAUNCHER, PYTHON, RUN, World, kind_of, quiet, shape, together, two_steps
from tests.fakes.otlp import Receiver

# what an application or a vendor's SDK does
PROVIDERS = '''
import logging, os
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

logging.basicConfig(format="%(name)s %(message)s")

def sdk(processor=BatchSpanProcessor):
    """The SDK's provider with one exporter."""
    made = TracerProvider(resource=Resource({"service.name": "app"}))
    made.add_span_processor(processor(OTLPSpanExporter(os.environ["APP_ENDPOINT"] + "/v1/traces")))
    return made

class Wrapping:
    """A vendor's: wraps another, takes no processors, and cannot be referred to weakly."""
    __slots__ = ("_inside",)

    def __init__(self, inside):
        self._inside = inside

    def get_tracer(self, *args, **more):
        return self._inside.get_tracer(*args, **more)

class Unhashable(Wrapping):
    """A vendor's, compared by value."""
    __slots__ = ()
    def __eq__(self, other):
        return isinstance(other, Unhashable)
    __hash__ = None

class BareSpan(trace.Span):
    """What the API asks of a span and nothing else: no attributes, no parent, no name to be read."""
    __slots__ = ("_inside",)

    def __init__(self, inside):
        self._inside = inside

    def end(self, end_time=None):
        self._inside.end(end_time)
    def get_span_context(self):
        return self._inside.get_span_context()
    def is_recording(self):
        return self._inside.is_recording()
    def set_attribute(self, key, value):
        self._inside.set_attribute(key, value)
    def set_attributes(self, attributes):
        self._inside.set_attributes(attributes)
    def add_event(self, name, attributes=None, timestamp=None):
        self._inside.add_event(name, attributes, timestamp)
    def update_name(self, name):
        self._inside.update_name(name)
    def set_status(self, status, description=None):
        self._inside.set_status(status, description)
    def record_exception(self, exception, attributes=None, timestamp=None, escaped=False):
        self._inside.record_exception(exception, attributes, timestamp, escaped)

class BareTracer(trace.Tracer):
    def __init__(self, inside):
        self._inside = inside
    def start_span(self, *args, **more):
        return BareSpan(self._inside.start_span(*args, **more))
    def start_as_current_span(self, *args, end_on_exit=True, **more):
        return trace.use_span(self.start_span(*args, **more), end_on_exit)

class Bare(trace.TracerProvider):
    """A vendor's: the API and nothing else."""
    def __init__(self, inside):
        self._inside = inside
    def get_tracer(self, instrumenting_module_name, instrumenting_library_version=None, schema_url=None, attributes=None):
        return BareTracer(self._inside.get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes))

def use(kind):
    inside = sdk()
    trace.set_tracer_provider({"sdk": lambda: inside, "wrapping": lambda: Wrapping(inside),
                               "unhashable": lambda: Unhashable(inside), "bare": lambda: Bare(inside)}[kind]())
'''  # fmt: skip
KINDS = ("sdk", "wrapping", "unhashable", "bare")
NAMES = {"sdk": "", "wrapping": "Wrapping", "unhashable": "Unhashable", "bare": "Bare"}
ASK = "print(loop.ask('counted'))\n"
ORDERS = {
    "before everything": "{use}import loop\n" + ASK,
    "after the SDK": "import loop\n{use}" + ASK,
    "after a client": "import loop\nclient = loop.client()\n{use}print(loop.ask('counted', client))\n",
    "after our first span": "import loop\nloop.ask('early')\n{use}" + ASK,
    "within a run": (
        "import loop\ndone = []\n"
        "def tool(given):\n    exec('''{use}''', globals())\n    return 'found'\n"
        "loop.ask('early', tool=tool)\n" + ASK
    ),
    "open at the end": "{use}import loop\ndef leave(given):\n    print('done')\n    raise SystemExit\nloop.ask('x', tool=leave)\n",
    "activated last": "{use}import loop\nimport nexus_otel.auto\n" + ASK,
    "activated within": "import loop\n{use}import nexus_otel\nassert nexus_otel.instrument()\n" + ASK,
}  # fmt: skip
EARLY = ("after our first span", "within a run")
CASES = {
    f"{kind}, {order}": (kind, order)
    for kind in KINDS
    for order in ORDERS
    if kind != "unhashable" or order in {"before everything", "after our first span", "open at the end"}
}
HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}


class Guest:
    """What came of one program: what it said, what arrived and what stayed."""

    def __init__(self, provider, folder, kind, order, **variables):
        script = ORDERS[order].format(use=f"import vendor; vendor.use('{kind}')\n")
        self.world = World.made(provider, folder, [*two_steps(), *(two_steps() if order in EARLY else ())])
        self.world.write("vendor.py", PROVIDERS)
        launcher = [] if "activated" in order else [LAUNCHER]
        with Receiver() as receiver:
            given = {name: value.format(url=receiver.url) for name, value in variables.items()}
            self.done = self.world.run(
                *launcher, PYTHON, self.world.write("agent.py", script), APP_ENDPOINT=receiver.url, **given
            )
            self.spans = receiver.spans
        self.stored = self.world.stored()


@pytest.fixture(scope="module")
def guests(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guests")
    results = together(*(lambda case=case: Guest(provider, folder, *case) for case in CASES.values()))
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_nobody_speaks_but_the_program_and_we_only_of_what_cannot_be(guests, name):
    kind, order = CASES[name]
    quiet(replace(guests[name].done, err=""), "done\n")
    told = f"{NAMES[kind]} takes no span processors: its spans are not in the local store"
    silent = kind == "sdk" or order == "activated within"  # instrument() keeps nothing beside a guest's own exporters
    assert guests[name].done.err == ("" if silent else f"nexus_otel nexus-otel: {told}\n")


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("within a run")])
def test_the_run_arrives_whole_and_once(guests, name):
    assert shape(guests[name].spans) == (RUN[:2] if name.endswith("open at the end") else RUN)
    assert {span.resource["service.name"] for span in guests[name].spans} == {"app"}
    assert len({span.trace_id for span in guests[name].spans}) == 1


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("within a run")])
def test_a_provider_that_comes_within_a_run_has_what_began_after_it(guests, name):
    spans = guests[name].spans
    roots = [span for span in spans if kind_of(span) == "invoke_agent"]
    (whole,) = ([span for span in spans if span.trace_id == root.trace_id] for root in roots)
    assert shape(whole) == RUN
    rest = [span for span in spans if span not in whole]
    assert sorted(kind_of(span) for span in rest) == ["chat", "execute_tool"]
    assert len({(span.trace_id, span.parent_id) for span in rest}) == 1
    (begun,) = (span for span in guests[name].stored if span.span_id == rest[0].parent_id)
    assert (kind_of(begun), begun.status) == ("invoke_agent", 0)


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith(EARLY)])
def test_the_local_store_has_it_too_where_the_provider_hands_its_spans_on(guests, name):
    whole = RUN[:2] if name.endswith("open at the end") else RUN
    local = name.startswith("sdk") and "activated within" not in name
    assert shape(guests[name].stored) == (whole if local else [])


@pytest.mark.parametrize("name", CASES)
def test_each_span_is_there_once_in_each_place(guests, name):
    for spans in (guests[name].spans, guests[name].stored):
        assert len({span.span_id for span in spans}) == len(spans)


# -- the official launcher -----------------------------------------------------------------------------

METRICS_OFF = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
LAUNCHED = {
    "otel alone": ([OTEL_LAUNCHER], "import loop\n", {}),
    "otel around ours": ([OTEL_LAUNCHER, LAUNCHER], "import loop\n", {}),
    "ours around otel": ([LAUNCHER, OTEL_LAUNCHER], "import loop\n", {}),
    "otel, and auto": ([OTEL_LAUNCHER], "import nexus_otel.auto, loop\n", {}),
    "otel, and auto after the SDK": ([OTEL_LAUNCHER], "import loop, nexus_otel.auto\n", {}),
    "otel, and instrument() twice": ([OTEL_LAUNCHER], "import loop, nexus_otel as n\nn.instrument()\nn.instrument()\n", {}),
    "otel, ours disabled": ([OTEL_LAUNCHER], "import loop\n", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "nexus"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def launched(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched")

    def one(launchers, head, variables):
        world = World.made(provider, folder)
        tail = "from opentelemetry import trace\nprint(type(trace.get_tracer_provider()).__module__)\n"
        path = world.write("agent.py", head + ASK + tail)
        with Receiver() as receiver:
            given = {
                **{name: value.format(url=receiver.url) for name, value in HTTP.items()},
                **METRICS_OFF,
                **variables,
            }
            done = world.run(*launchers, PYTHON, path, **given)
            return done, receiver.spans, world.stored()

    results = together(*(lambda case=case: one(*case) for case in LAUNCHED.values()))
    return dict(zip(LAUNCHED, results, strict=True))


@pytest.mark.parametrize("name", LAUNCHED)
def test_under_the_official_launcher_its_provider_makes_the_spans_and_sends_them_once(launched, name):
    done, arrived, stored = launched[name]
    quiet(done, "done\nopentelemetry.sdk.trace\n")
    ours = [span for span in arrived if not span.scope.startswith("com.anthropic")]
    assert shape(ours) == ([] if name == "otel, ours disabled" else RUN)
    assert stored == []

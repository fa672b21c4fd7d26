"""Targets put in place, calls read, and our own failures stopped: the engine apart from runs."""

from __future__ import annotations

import contextvars
import gc
import importlib
import logging
import sys
import threading
import types
from dataclasses import replace

import pytest
import wrapt
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from nexus_otel import _guard
from nexus_otel._guard import guard, note_once, quietly, report
from nexus_otel.engine import scope
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.target import Call
from tests.engine.toy import Answer, Model, ModelError, Tool, ToyInstrumentor, calls, loop, model_response, user
from tests.kit.fixtures import Kept, failures_allowed
from tests.kit.recording import AGENT, Recording, instrumented, values

CALL = "chat toy-1"


def with_targets(*targets, package="toy"):
    return type("Made", (Instrumentor,), {"targets": targets, "package": package, "__module__": __name__})


ASK, ASK_ASYNC, TOOL = ToyInstrumentor.targets


# -- putting in place --------------------------------------------------------------------------------------------------


def test_a_missing_target_is_told_once_by_name_and_version():
    broken = with_targets(ASK, replace(ASK, name="Model.gone"), package="wrapt")
    with Kept("nexus_otel") as kept, instrumented(broken) as seen:
        Model().ask([user()], tools=())
        Model().ask([user()], tools=())
    (line,) = kept.lines
    assert f"wrapt {wrapt.__version__} has no tests.engine.toy.Model.gone" in line
    assert seen.names == {CALL: 2}


@pytest.mark.parametrize("name", ["Model.gone", "Gone.ask", "gone"])
def test_an_optional_target_may_be_missing(name):
    with Kept("nexus_otel") as kept, instrumented(with_targets(ASK, replace(ASK, name=name, optional=True))):
        pass
    assert kept.lines == []


@pytest.mark.parametrize("name", ["Gone.ask", "gone"])
def test_a_missing_class_or_function_is_told_too(name):
    with Kept("nexus_otel") as kept, instrumented(with_targets(replace(ASK, name=name))):
        pass
    assert len(kept.lines) == 1


@pytest.mark.parametrize("range_", [{"since": "999"}, {"until": "0.1"}])
def test_what_another_version_has_is_not_looked_for(range_):
    broken = with_targets(ASK, replace(ASK, name="Model.gone", **range_), package="wrapt")
    with Kept("nexus_otel") as kept, instrumented(broken):
        pass
    assert kept.lines == []


def test_what_is_missing_is_one_warning_for_all_of_it():
    broken = with_targets(*(replace(ASK, name=name) for name in ("Model.gone", "Gone.ask", "Gone.tell")))
    with Kept("nexus_otel") as kept, instrumented(broken):
        pass
    (line,) = kept.lines
    assert "has no tests.engine.toy.Model.gone, tests.engine.toy.Gone;" in line


@pytest.fixture
def half(tmp_path, monkeypatch):
    """Give the name of a package whose module `models` is not there."""
    (tmp_path / "half_library").mkdir()
    (tmp_path / "half_library" / "__init__.py").write_text('__version__ = "3.1"\n')
    (tmp_path / "half_library" / "tools.py").write_text("def call():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "half_library"
    for name in [name for name in sys.modules if name.startswith("half_library")]:
        del sys.modules[name]


def test_a_module_that_is_not_there_is_told_when_its_package_is_imported(half):
    targets = [replace(ASK, module=f"{half}.{name}") for name in ("models.messages", "tools")]
    with Kept("nexus_otel") as kept, instrumented(with_targets(*targets, package=half)):
        importlib.import_module(half)
    (line,) = kept.lines
    assert "half_library 3.1 has no half_library.models.messages;" in line
    assert f"{half}.tools" not in sys.modules


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (["half >= 2, < 3"], True),
        (["half >= 2, < 3.2"], False),
        (["half"], False),
        (["half >= 2, < 4", "half >= 1, < 2"], False),
        (["half >= 2, < 3", "half >= 1, < 2"], True),
        ([], False),
    ],
)
def test_a_version_beyond_every_range_is_told_and_recorded(half, requirements, told):
    made = with_targets(replace(ASK, module=f"{half}.tools", name="call", response=None), package=half)
    made.requires = tuple(requirements)
    with Kept("nexus_otel") as kept, instrumented(made) as seen:
        module = importlib.import_module(f"{half}.tools")
        assert type(vars(module)["call"]) is not types.FunctionType
    assert seen.spans == []
    assert ["half_library 3.1 is newer" in line and "half_library.tools.call" in line for line in kept.lines] == [
        True
    ] * told


@pytest.fixture
def late(tmp_path, monkeypatch):
    """Give the name of a library that is not imported yet."""
    source = "class Model:\n    def ask(self, messages, tools=()):\n        return None\n"
    (tmp_path / "late_library.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield "late_library"
    sys.modules.pop("late_library", None)


def test_a_library_is_wrapped_when_it_is_imported(late):
    target = replace(ASK, module=late, response=None)
    with instrumented(with_targets(target)) as seen:
        assert late not in sys.modules
        importlib.import_module(late).Model().ask([user()], tools=())
    assert sum(seen.names.values()) == 1


def test_a_library_imported_after_the_undo_is_left_alone(late):
    target = replace(ASK, module=late)
    with instrumented(with_targets(target)):
        pass
    module = importlib.import_module(late)
    assert type(vars(module.Model)["ask"]) is types.FunctionType


def test_a_failure_while_wrapping_does_not_fail_the_import(late, monkeypatch):
    broken = with_targets(replace(ASK, module=late))
    monkeypatch.setattr(broken, "_wrapper", classmethod(lambda *_: 1 / 0))
    with failures_allowed(), Kept("nexus_otel") as kept, instrumented(broken):
        assert importlib.import_module(late).Model().ask([]) is None
    assert len(kept.lines) == 1


def test_two_classes_of_instrumentor_do_not_share_their_state():
    with instrumented(ToyInstrumentor):
        assert not with_targets(ASK)().is_instrumented_by_opentelemetry


# -- reading calls -----------------------------------------------------------------------------------------------------


class Library:
    def plain(self, a, b=2, *rest, c=3, **more):
        return a, b, rest, c, more


def arguments(*args, **kwargs):
    return dict(Call(Library().plain, Library(), args, kwargs).arguments)


def test_arguments_are_the_same_however_they_are_passed():
    assert arguments(1, 5, c=4) == arguments(a=1, b=5, c=4) == {"a": 1, "b": 5, "c": 4}


def test_further_arguments_by_name_are_found_by_their_name():
    assert arguments(1, extra=9) == arguments(a=1, extra=9) == {"a": 1, "extra": 9}


def test_a_call_with_wrong_arguments_fails_as_without_us():
    with pytest.raises(TypeError) as bare:
        Model().ask()
    with failures_allowed(), instrumented(ToyInstrumentor), pytest.raises(TypeError) as ours:
        Model().ask()
    assert str(ours.value) == str(bare.value)


def test_too_many_arguments_fail_as_without_us():
    with Kept("nexus_otel") as kept, instrumented(ToyInstrumentor), pytest.raises(TypeError, match="positional"):
        Model().ask([user()], (), "", 1, 2, 3)
    assert kept.lines == []


def test_a_call_by_position_is_recorded():
    with instrumented(ToyInstrumentor) as seen:
        Model().ask([user()], (), "system")
    assert values(seen.one())["nexus.message.count"] == 1


def test_a_request_that_is_none_of_ours_is_a_plain_call():
    with instrumented(with_targets(replace(ASK, request=lambda _call: None))) as seen:
        assert Model().ask([user()]).text == "done"
    assert seen.spans == []


def test_an_override_of_the_user_s_is_one_call():
    class Mine(Model):
        def ask(self, messages, *args, **kwargs):
            return super().ask([*messages, user("more")], *args, **kwargs)

    with instrumented(ToyInstrumentor) as seen:
        Mine().ask([user()], tools=())
    assert values(seen.one())["nexus.message.count"] == 2


# -- who owns a call ---------------------------------------------------------------------------------------------------


async def test_a_wrapped_method_that_calls_another_is_one_call():
    with instrumented(ToyInstrumentor) as seen:
        await Model().ask_async([user()], tools=())
    assert seen.names == {CALL: 1}


def test_a_call_does_not_own_what_comes_after_it():
    kept = []

    class Keeping(Model):
        def _answer(self, said):
            kept.append(contextvars.copy_context())
            return super()._answer(said)

    with instrumented(ToyInstrumentor) as seen:
        Keeping().ask([user()], tools=())
        kept[0].run(Model().ask, [user()], tools=())
    assert seen.names == {CALL: 2}


def test_a_call_that_failed_does_not_silence_the_next():
    with instrumented(ToyInstrumentor) as seen:
        for _ in range(3):
            with pytest.raises(ModelError):
                Model(ModelError("no")).ask([user()], tools=())
    assert seen.names == {CALL: 3}


def test_a_reader_that_failed_does_not_silence_the_next():
    def fail_once(answer, done=[]):  # noqa: B006 - once
        if not done:
            done.append(True)
            raise ValueError
        return model_response(answer)

    with failures_allowed(), instrumented(with_targets(replace(ASK, response=fail_once))) as seen:
        for _ in range(3):
            Model().ask([user()], tools=())
    assert seen.names == {CALL: 3}


def test_under_an_official_instrumentation_ours_makes_no_span():
    with instrumented(ToyInstrumentor) as seen:
        token = otel_context.attach(otel_context.set_value(scope._GENAI_KEY, object()))
        Model().ask([user()], tools=())
        otel_context.detach(token)
    assert seen.spans == []


def test_an_official_instrumentation_is_told_that_ours_owns_the_call(monkeypatch):
    official = types.ModuleType("opentelemetry.util.genai._inference_invocation")
    official.InferenceData = type("InferenceData", (), {})
    monkeypatch.setitem(sys.modules, official.__name__, official)
    found = []

    class Looking(Model):
        def _answer(self, said):
            found.append(otel_context.get_value(scope._GENAI_KEY))
            return super()._answer(said)

    with instrumented(ToyInstrumentor):
        Looking().ask([user()], tools=())
    assert isinstance(found[0], official.InferenceData)
    assert otel_context.get_value(scope._GENAI_KEY) is None


def test_a_tool_span_of_the_application_is_not_doubled():
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    with (
        instrumented(ToyInstrumentor) as seen,
        seen.tracer.start_as_current_span("execute_tool add", attributes=attributes),
    ):
        Tool().call({"n": 1})
    assert seen.names == {"execute_tool add": 1}


@pytest.fixture
def vendor():
    """Wrap the model's method as another vendor's instrumentation does."""

    def wrapper(wrapped, _instance, args, kwargs):
        return wrapped(*args, **kwargs)

    original = vars(Model)["ask"]
    wrapper.__module__ = "openinference.instrumentation.toy"
    wrapt.wrap_function_wrapper("tests.engine.toy", "Model.ask", wrapper)
    yield wrapper.__module__
    Model.ask = original


def test_another_instrumentation_of_the_library_is_told_once(vendor):
    with Kept("nexus_otel") as kept, instrumented(ToyInstrumentor) as seen:
        for _ in range(3):
            Model().ask([user()], tools=())
    (line,) = kept.lines
    assert vendor in line
    assert "NEXUS_ON_CONFLICT=both" in line
    assert seen.names == {CALL: 3}
    _guard.failures.clear()


def test_beside_another_instrumentation_ours_may_leave_its_model_spans_out(vendor):
    with Kept("nexus_otel"), instrumented(ToyInstrumentor, NEXUS_ON_CONFLICT="yield") as seen:
        loop(Model(calls(), Answer()))
    assert seen.names == {f"invoke_agent {AGENT}": 1, "execute_tool add": 1}
    _guard.failures.clear()


# -- what ends a call --------------------------------------------------------------------------------------------------


class CancelledError(BaseException):
    """As asyncio's, anyio's and trio's are called."""


class Cancelled(BaseException):
    """As trio's is called."""


Cancelled.__module__ = "trio"


@pytest.mark.parametrize("error", [CancelledError(), GeneratorExit(), Cancelled()], ids=["asyncio", "closed", "trio"])
def test_control_flow_is_no_failure(error):
    class Leaving(Model):
        def _answer(self, said):
            raise error

    with instrumented(ToyInstrumentor) as seen, pytest.raises(type(error)):
        Leaving().ask([user()], tools=())
    assert seen.one().status.status_code is StatusCode.UNSET
    assert values(seen.one())["nexus.stream.outcome"] == "cancelled"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_the_end_of_the_process_passes_and_is_recorded(error):
    class Leaving(Model):
        def _answer(self, said):
            raise error

    with instrumented(ToyInstrumentor) as seen, pytest.raises(type(error)) as raised:
        Leaving().ask([user()], tools=())
    assert raised.value is error
    assert values(seen.one())["error.type"] == type(error).__name__


def test_the_very_exception_is_raised():
    error = ModelError("no")
    with instrumented(ToyInstrumentor), pytest.raises(ModelError) as raised:
        Model(error).ask([user()])
    assert raised.value is error
    assert error.__cause__ is error.__context__ is None
    assert not hasattr(error, "__notes__")


def test_the_very_value_is_returned():
    answer = Answer()

    class Same(Model):
        def _answer(self, said):
            return answer

    with instrumented(ToyInstrumentor):
        assert Same().ask([user()]) is answer


def test_a_context_that_is_left_elsewhere_is_no_error():
    """Problem 1: a frame that is closed from another context leaves no word of OpenTelemetry and no span current."""
    step = []

    class Entering(Model):
        def _answer(self, said):
            step.append(otel_context.get_current())
            return super()._answer(said)

    with instrumented(ToyInstrumentor):
        contextvars.Context().run(Entering().ask, [user()])
        threading.Thread(target=lambda: scope.leave(scope.enter(step[0]))).start()
        foreign = contextvars.copy_context().run(scope.enter, step[0])
        scope.leave(foreign)
    assert otel_context.get_current() == {}


def test_the_limits_of_the_sdk_are_honoured(opentelemetry_is_silent):
    recording = Recording()
    recording.tracer_provider._span_limits = SpanLimits(max_span_attribute_length=300, max_span_attributes=40)
    mode = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with instrumented(ToyInstrumentor, into=recording, **mode):
        Model().ask([user("x" * 5_000)], tools=())
    assert len(values(recording.one())["gen_ai.input.messages"]) <= 300
    opentelemetry_is_silent.records.clear()  # it says that it cuts


# -- the guard ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def swallowed():
    with failures_allowed():
        yield


def test_a_failure_of_ours_stops_at_the_guard(swallowed):
    with guard("testing"):
        raise ValueError
    assert _guard.failures["testing"] == 1


def test_what_is_not_ours_passes_the_guard(swallowed):
    with pytest.raises(KeyboardInterrupt), guard("testing"):
        raise KeyboardInterrupt


def test_a_place_is_logged_once_and_counted_on(swallowed):
    with Kept("nexus_otel") as kept:
        for _ in range(3):
            with guard("testing"):
                raise ValueError
    assert len(kept.lines) == 1
    assert _guard.failures["testing"] == 3


def test_the_log_names_the_place_and_not_the_message(swallowed):
    with Kept("nexus_otel") as kept, guard("testing"):
        int("a secret")
    (line,) = kept.lines
    assert "failed while testing: ValueError at" in line
    assert "secret" not in line


def test_a_failure_without_a_traceback_can_be_reported(swallowed):
    with Kept("nexus_otel") as kept:
        report("testing", ValueError())
    assert "unknown" in kept.lines[0]


def test_quietly_says_nothing(swallowed):
    with Kept("nexus_otel", 0) as kept:
        assert quietly(int, "x") is None
        assert quietly(int, "7") == 7
    assert kept.lines == []


def test_a_note_is_made_once(swallowed):
    with Kept("nexus_otel") as kept:
        for _ in range(3):
            note_once("noted", "nexus-otel: %s", "so it is")
    assert kept.lines == ["nexus_otel nexus-otel: so it is"]


def test_under_test_a_failure_of_ours_is_raised():
    with pytest.raises(ValueError, match="ours"), guard("testing"):
        raise ValueError("ours")
    _guard.failures.clear()


def test_the_logger_prints_nothing_unasked():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("nexus_otel").handlers)


# -- what is left behind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "sampled out"])
def test_a_call_leaves_nothing_to_the_garbage_collector(recorded):
    def ours():
        return sum(isinstance(value, Step | SilentStep | Call) for value in gc.get_objects())

    with instrumented(ToyInstrumentor, sampler=None if recorded else ALWAYS_OFF, meters=False):
        Model().ask([user()], tools=())
        gc.collect()
        before = ours()
        gc.disable()
        try:
            Model().ask([user()], tools=())
            left = ours() - before
        finally:
            gc.enable()
    assert left == 0

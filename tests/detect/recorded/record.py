"""Records agents that fail as other vendors' instrumentors see them: `record.py VENDOR SDK FILE`; see README.md."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "findings" / "agents")]

from tests.fakes.provider import Provider  # noqa: E402
from tests.findings.failing import AGENTS, Framework  # noqa: E402

NAMES = ("good", "tool_error", "retry", "loop", "loop_of_errors", "unknown_tool", "wrong_arguments", "filling",
         "overflow", "polling")  # fmt: skip
_FOLDERS = re.compile(rf"{re.escape(str(ROOT))}/|(?:/[^\s\"/]+)+/(?=site-packages/)")
MODELS = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-4o-mini"}
INSTRUMENTORS = {"openinference": "openinference.instrumentation.{}", "openllmetry": "opentelemetry.instrumentation.{}"}
CLASSES = {"anthropic": "AnthropicInstrumentor", "openai": "OpenAIInstrumentor"}


class Lines(SpanExporter):
    """Writes each span as a request of OTLP JSON on a line, as the collector's file exporter does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def export(self, spans: Any) -> SpanExportResult:
        made = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
        for resource in made["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in span:
                            span[name] = b64decode(span[name]).hex()
        line = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
        self._file.write(_FOLDERS.sub("", line) + "\n")  # stack traces name files
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()


def main(vendor: str, sdk: str, file: str) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "recorded"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Lines(Path(file))))
    module = importlib.import_module(INSTRUMENTORS[vendor].format(sdk))
    getattr(module, CLASSES[sdk])().instrument(tracer_provider=provider)
    on = Framework(f"on_{sdk}.py", MODELS[sdk])
    with Provider() as models:
        for name in NAMES:
            models.load(on.script(on.table[name]), f"key.{name}")
        os.environ |= {
            "KEYS": "key", "NAMES": ",".join(NAMES), "MODEL": on.model, "ANTHROPIC_BASE_URL": models.url,
            "OPENAI_BASE_URL": f"{models.url}/v1", "ANTHROPIC_OPEN_TELEMETRY": "false",
        }  # fmt: skip
        import tools

        def around(ask: Any) -> None:
            """What an application does: a span of its own around each run, named after the agent."""

            def asked(key: str) -> None:
                with provider.get_tracer("application").start_as_current_span(key.partition(".")[2]):
                    ask(key)

            runs(asked)

        runs, tools.runs = tools.runs, around
        runpy.run_path(str(AGENTS / on.program))
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

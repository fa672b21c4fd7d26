"""The gRPC side of the OTLP backend: the same requests, kept by the same receiver."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from .otlp import SIGNALS, Body, Receiver, kept_of

PATHS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "/v1/traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "/v1/logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "/v1/metrics",
}
CODES = {code.name: code for code in grpc.StatusCode}


class GrpcServer:
    """Serves on a free local port; with `credentials` over TLS, as localhost."""

    def __init__(self, owner: Receiver, credentials: grpc.ServerCredentials | None, limit: int | None) -> None:
        options = [("grpc.so_reuseport", 0)] + ([("grpc.max_receive_message_length", limit)] if limit else [])
        self.closing = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        self._server.add_generic_rpc_handlers([_Services(owner, self.closing)])
        if credentials is None:
            self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        else:
            self.url = f"https://localhost:{self._server.add_secure_port('localhost:0', credentials)}"
        self._server.start()

    def stop(self) -> None:
        """Close the port; requests that hang are ended."""
        self.closing.set()
        self._server.stop(None).wait()


class _Services(grpc.GenericRpcHandler):
    def __init__(self, owner: Receiver, closing: threading.Event) -> None:
        self._owner = owner
        self._closing = closing

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        if method not in PATHS:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda data, context: self._export(method, data, context))

    def _export(self, method: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        signal = SIGNALS[PATHS[method]]
        try:
            items = list(signal.read(signal.request.FromString(data)))
        except DecodeError as error:
            self._owner.record_malformed(f"{method}: {error}")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        headers = {pair.key: pair.value for pair in context.invocation_metadata()}
        body = Body(method, headers, data, self._owner.behaviour)
        kept = kept_of(body.behaviour, items)
        self._owner.record(body, kept)
        if body.behaviour == "slow":
            self._closing.wait(self._owner.delay_s)
        elif body.behaviour not in {"ok", "partial"}:
            self._fail(body.behaviour, context)
        return signal.answer(len(items) - len(kept)).SerializeToString()

    def _fail(self, behaviour: str, context: grpc.ServicerContext) -> NoReturn:
        while behaviour == "hang" == self._owner.behaviour and not self._closing.wait(0.01):
            pass
        code = CODES.get(behaviour, grpc.StatusCode.UNAVAILABLE)
        if self._owner.retry_after is not None:
            retry = RetryInfo()
            retry.retry_delay.FromNanoseconds(int(self._owner.retry_after * 1e9))
            status = Status(code=code.value[0], message="failing on purpose")
            status.details.add().Pack(retry)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "failing on purpose")

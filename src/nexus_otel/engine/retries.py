"""The waits of the SDKs made by Stainless before they try a request again: where they are seen, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import Retry, RetryResult
from nexus_otel.genai.plain import item


def retries(package: str, since: str) -> Iterable[Target]:
    """Give the wait between two tries; before it was a method, that of both colours which says how long it is.

    Args:
        package: The SDK's.
        since: Its first version in which the wait is a method of its own.
    """
    module = f"{package}._base_client"
    for owner in ("SyncAPIClient", "AsyncAPIClient"):
        yield Target(module=module, name=f"{owner}._sleep_for_retry", request=retry_request, since=since)
    name = "BaseClient._calculate_retry_timeout"
    yield Target(module=module, name=name, request=planned_retry, response=RetryResult, until=since)


def retry_request(call: Call) -> Retry:
    """Read the SDK's wait before it tries a request again."""
    status = item(call.arguments.get("response"), "status_code")
    return Retry(int(call.arguments.get("retries_taken") or 0) + 1, str(status or "connection_error"), status)


def planned_retry(call: Call) -> Retry:
    """Read the SDK's choice of how long to wait: why it tries again is the error that it handles."""
    args = call.arguments
    taken = args["options"].get_max_retries(call.instance.max_retries) - args["remaining_retries"]
    status = item(item(sys.exception(), "response"), "status_code")
    return Retry(taken + 1, str(status or "connection_error"), status)

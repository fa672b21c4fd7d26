"""Message batches of a provider, each with one request that has been answered."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from . import wire
from .steps import Reply

_ROOT = "/v1/messages/batches"
_ID = "msgbatch_0001"
_WHEN = "2026-01-02T03:04:05Z"


def is_batch(path: str) -> bool:
    """Whether a request is about batches."""
    return urlsplit(path).path.startswith(_ROOT)


def reply(path: str, url: str) -> dict[str, Any]:
    """What is answered: the batch itself, or its only line of results.

    Args:
        path: Of the request.
        url: Where the results are fetched from.
    """
    if urlsplit(path).path.endswith("/results"):
        message: Any = wire.message(Reply("answered"), "msg_0001", "m", [{"type": "text", "text": "answered"}])
        return {"custom_id": "one", "result": {"type": "succeeded", "message": message}}
    counts = {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0}
    return {
        "id": _ID, "type": "message_batch", "processing_status": "ended", "request_counts": counts,
        "created_at": _WHEN, "expires_at": _WHEN, "ended_at": _WHEN, "archived_at": None, "cancel_initiated_at": None,
        "results_url": f"{url}{_ROOT}/{_ID}/results",
    }  # fmt: skip

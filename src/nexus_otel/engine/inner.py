"""One model call seen by two libraries: a framework owns the span, the provider's SDK beneath knows more of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from nexus_otel.genai.operations import Inference, InferenceResult, Outcome, Usage


@dataclass(frozen=True, slots=True)
class Seen:
    """What a library beneath saw: the call, what came of it, and how it ended."""

    operation: Inference
    result: InferenceResult | None
    outcome: Outcome


def completed(
    operation: Inference, result: InferenceResult | None, outcome: Outcome, seen: Sequence[Seen]
) -> tuple[Inference, InferenceResult | None, Outcome]:
    """Return what is known of a call together with what was seen beneath it.

    What the owner tells of the conversation holds. The provider's SDK knows better who answered and where, the exact
    usage, and the provider's word for an error. The usage of several requests is summed: all of it was billed.

    Args:
        operation: As the owner sees it.
        result: What the owner says came of it.
        outcome: How it ended for the owner.
        seen: What was seen beneath it, in order; not empty.
    """
    last = seen[-1]
    answers = [one.result for one in seen if one.result is not None]
    if answers:
        result = _answered(result, answers)
    if outcome.failure is not None and last.outcome.failure is not None:
        outcome = replace(outcome, failure=last.outcome.failure)
    if outcome.first_chunk_s is None:
        outcome = replace(outcome, first_chunk_s=last.outcome.first_chunk_s)
    return _called(operation, last.operation), result, outcome


def remarked(result: InferenceResult | None, remarks: Sequence[InferenceResult]) -> InferenceResult:
    """Return what came of a call together with what its own library said in passing.

    Args:
        result: What the call returned.
        remarks: In order.
    """
    found = result or InferenceResult()
    for said in remarks:
        found = replace(
            found,
            id=found.id or said.id,
            model=found.model or said.model,
            finish_reasons=found.finish_reasons or said.finish_reasons,
            usage=_sum([found, said]) or found.usage,
        )
    return found


def _called(outer: Inference, inner: Inference) -> Inference:
    return replace(
        outer,
        provider=inner.provider,
        model=outer.model or inner.model,
        address=inner.address,
        port=inner.port,
        stream=outer.stream or inner.stream,
        request=lambda: {**inner.request(), **outer.request()},
    )


def _answered(outer: InferenceResult | None, answers: Sequence[InferenceResult]) -> InferenceResult:
    inner = answers[-1]
    if outer is None:
        return replace(inner, usage=_sum(answers) or inner.usage)
    return InferenceResult(
        id=inner.id or outer.id,
        model=inner.model or outer.model,
        finish_reasons=outer.finish_reasons or inner.finish_reasons,
        usage=_sum(answers) or outer.usage,
        output=outer.output or inner.output,
        calls=outer.calls or inner.calls,
        attributes={**outer.attributes, **inner.attributes},
    )


def _sum(answers: Sequence[InferenceResult]) -> Usage | None:
    """Return the tokens of all answers together; None where none of them says."""
    total: dict[str, int] = {}
    for answer in answers:
        for one in fields(answer.usage):
            if (count := getattr(answer.usage, one.name)) is not None:
                total[one.name] = total.get(one.name, 0) + count
    return Usage(**total) if total else None

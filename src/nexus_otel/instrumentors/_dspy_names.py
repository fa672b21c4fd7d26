"""What DSPy's programs and models are called."""

from __future__ import annotations

from typing import Any, Final

_AGENTS: Final = frozenset({"ReAct", "ReActV2", "CodeAct", "RLM"})
"""Classes of DSPy in which the model decides what is done next."""
_PROVIDERS: Final = {
    "azure": "azure.ai.openai", "azure_ai": "azure.ai.inference", "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock", "chatgpt": "openai", "codestral": "mistral_ai", "cohere_chat": "cohere",
    "gemini": "gcp.gemini", "google": "gcp.gemini", "mistral": "mistral_ai", "moonshot": "moonshot_ai",
    "text-completion-openai": "openai", "vertex": "gcp.vertex_ai", "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai", "vertex-express": "gcp.vertex_ai", "watsonx": "ibm.watsonx.ai", "xai": "x_ai",
}  # fmt: skip
"""The prefix of a model, as LiteLLM and DSPy's own client know it, and the provider by the conventions' names."""
_FAMILIES: Final = (
    ("claude", "anthropic"), ("gemini", "gcp.gemini"), ("command", "cohere"), ("deepseek", "deepseek"),
    ("grok", "x_ai"), ("mistral", "mistral_ai"),
)  # fmt: skip
"""How the names of models begin that are given without a provider; the rest are OpenAI's, as LiteLLM takes them."""


def provider_and_model(name: Any) -> tuple[str, str | None]:
    """Return who answers a model called so, and the model's own name."""
    text = str(name or "")
    prefix, slash, model = text.partition("/")
    if slash:
        return _PROVIDERS.get(prefix, prefix), model
    known = (provider for family, provider in _FAMILIES if text.startswith(family))
    return next(known, "openai"), text or None


def is_own(kind: type) -> bool:
    """Whether a class is DSPy's, not the user's."""
    return kind.__module__.partition(".")[0] == "dspy"


def is_agent(module: Any) -> bool:
    """Whether a module is a loop that a model drives."""
    return any(kind.__name__ in _AGENTS and is_own(kind) for kind in type(module).__mro__)


def is_model(instance: Any) -> bool:
    """Whether it is a model, DSPy's or one of the user's."""
    return any(kind.__name__ == "BaseLM" and is_own(kind) for kind in type(instance).__mro__)


def program_name(module: Any) -> str | None:
    """Return what a person calls a module.

    The user's own class, if it is one; else the name of the signature's class; else, for a signature that was given as
    text, the official instrumentation's name of an agent (`dspy.ReAct`), and the text for anything else.
    """
    kind = type(module)
    if not is_own(kind):
        return kind.__name__
    signature = _signature(module)
    name = getattr(signature, "__name__", None)
    if name is not None and name not in ("StringSignature", "Signature"):
        return str(name)
    if is_agent(module):
        return f"dspy.{kind.__name__}"
    return _fields(signature) if signature is not None else None


def output_names(module: Any) -> tuple[str, ...]:
    """Return the names of what a module answers, if its signature tells."""
    return tuple(getattr(_signature(module), "output_fields", ()))


def _signature(module: Any) -> Any:
    """Return a module's signature, its own or that of what it is built around."""
    for _ in range(4):
        if (found := getattr(module, "signature", None)) is not None:
            return found
        module = getattr(module, "predict", None) or getattr(module, "module", None)
    return None


def _fields(signature: Any) -> str:
    """Return a signature as text, without the reasoning that DSPy adds to it."""
    asked = ", ".join(getattr(signature, "input_fields", ()))
    answered = ", ".join(name for name in getattr(signature, "output_fields", ()) if name != "reasoning")
    return f"{asked} -> {answered}"

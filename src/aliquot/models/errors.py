"""What can go wrong between Aliquot and a language model, one class per fact.

No sentence carries a provider's own text: it may quote the prompt, a key or a host. The class, the HTTP status and a short
reason go to the log.
"""

from aliquot.kernel.problems import Forbidden, InvalidInput, Problem, RateLimited, Unavailable
from aliquot.models.contracts import ModelMessage, Usage


class ModelProblem(Problem):
    """Base of what one endpoint can answer instead of a turn. Another endpoint may still do it: fallback applies."""

    code, status, sentence = "model_failed", 502, "The AI service could not answer."
    repeatable: bool = False
    """True when the same call at the same endpoint may work in a moment (429, 5xx, timeouts, lost connections)."""
    counts: bool = True
    """True when it counts towards opening the endpoint's circuit breaker."""


class ProviderBusy(ModelProblem):
    """429, 5xx, a timeout or no connection, after the retries; or too many calls waiting here."""

    code, status, sentence = "model_busy", 503, "The AI service is temporarily busy, please try again"
    retryable = True
    repeatable = True

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None, throttled: bool = False) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.counts = not throttled
        self.throttled = throttled


class ProviderRefused(ModelProblem):
    """The endpoint refused the call for good: key, permission, unknown model, a request it does not take."""

    code, status, sentence = "model_refused", 502, "The AI service refused the request. An administrator should check the models file."
    counts = False


class ProviderMisbehaved(ModelProblem):
    """Nonsense, silence, or an answer beyond every bound, before anything was shown."""

    code, status, sentence = "model_misbehaved", 502, "The AI service sent an answer that cannot be used, please try again"
    retryable = True


class ContextTooLong(ModelProblem):
    """What must be sent does not fit the model's context window even after everything droppable was dropped."""

    code, status, sentence = (
        "context_too_long",
        413,
        "This is too long for the language model. Please shorten the message or its attachments.",
    )
    counts = False


class ProviderInterrupted(Problem):
    """The stream ended after something was shown: never repeated. `message` and `usage` hold what had arrived."""

    code, status, sentence = "interrupted", 502, "The answer was interrupted. What had arrived is kept; you can ask again."
    retryable = True

    def __init__(self, detail: str | None = None, *, message: ModelMessage, usage: Usage, model: str) -> None:
        super().__init__(detail)
        self.message = message
        self.usage = usage
        self.model = model


class RepeatedItself(ProviderInterrupted):
    """The model repeated the same text over and over and was stopped."""

    code, sentence = "model_repeats", "The language model kept repeating itself and was stopped. You can ask again."


class ModelNotConfigured(Unavailable):
    code, sentence = "model_not_configured", "No language model is configured. An administrator can add one to the models file."
    retryable = False


class UnknownModel(InvalidInput):
    code, sentence = "unknown_model", "There is no model of this name in the models file."


class NoModelForPatientData(Forbidden):
    code, sentence = "no_model_for_patient_data", "This contains patient data, and no configured language model may receive patient data."


class BudgetExceeded(Problem):
    """A cost cap (call, run or day) leaves no room for this call."""

    code, status, sentence = "budget_exceeded", 429, "The cost limit for language models is reached."


class TokensExceeded(RateLimited):
    """The person's tokens of the sliding hour are used up."""

    code, sentence = (
        "model_tokens_exceeded",
        "You have used your language model tokens for this hour. Please wait before sending more messages.",
    )

"""Which adapter speaks to which declared endpoint."""

from aliquot.models.config import ModelConfig
from aliquot.models.providers.base import Adapter


def adapter_for(config: ModelConfig) -> Adapter:
    """An unconnected adapter; nothing is imported or opened before its first call."""
    if config.provider == "anthropic":
        from aliquot.models.providers.anthropic import AnthropicAdapter  # noqa: PLC0415 - only what the site uses

        return AnthropicAdapter(config)
    if config.provider == "bedrock":
        from aliquot.models.providers.bedrock import BedrockAdapter  # noqa: PLC0415

        return BedrockAdapter(config)
    from aliquot.models.providers.openai import OpenAIAdapter  # noqa: PLC0415

    return OpenAIAdapter(config)

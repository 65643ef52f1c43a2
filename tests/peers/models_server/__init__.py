"""A language-model provider on loopback that speaks OpenAI chat completions, Anthropic Messages and Bedrock ConverseStream.

What it says is a script of turns, or follows from the model's name: `mock-ttft50-itl5-len200` waits 50 ms, then sends 200
tokens 5 ms apart. `light.py` is the same OpenAI stream for benchmarks, at a few microseconds a chunk.
"""

from tests.peers.models_server.script import ToolCall, Turn
from tests.peers.models_server.server import ModelHost, ModelServer, Recorded

__all__ = ["ModelHost", "ModelServer", "Recorded", "ToolCall", "Turn"]

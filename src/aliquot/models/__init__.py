"""Language models: declared endpoints, streaming with our own decoding, fallback, retry, circuit breaker, context budget,
usage, cost and caps.

The official SDKs carry transport, credentials and errors and are imported lazily, only here. Prompts, conversations and
tools belong to `chat`.
"""

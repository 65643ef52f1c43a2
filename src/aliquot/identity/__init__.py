"""Who is asking and what they may do: people, roles, sessions, API keys, log-in, lock-out, limits per person.

It does not decide about tool calls (that is `policy`) and does not own what people make.
"""

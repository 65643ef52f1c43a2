"""Conversations, runs, the agent loop and run events.

`ChatApi.start_run` is the only way in for every wire format. A run executes in the background; connections only watch.
"""

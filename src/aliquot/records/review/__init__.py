"""The review queue: answers flagged by people or checks, and what a reviewer found.

It never changes a message: the outcome stands beside it. Messages are reached through what `chat` registers here.
"""

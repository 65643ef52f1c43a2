"""Sharing of conversations: a public link or named people, read-only or with the right to write, and continuing as a copy.

Who may see a conversation is decided in `chat.access`; a share only records what its owner allowed.
"""

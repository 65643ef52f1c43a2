"""How a person arranges conversations: folders (a tree of sealed names) and what lies in them, archive, pins, titles.

It does not list conversations: `search` does.
"""

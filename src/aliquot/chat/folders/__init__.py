"""Folders of a person's conversations: a tree of sealed names, and what lies in it. It does not list conversations: `search` does."""

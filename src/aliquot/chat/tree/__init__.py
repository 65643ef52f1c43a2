"""The message tree of a conversation: branches, siblings, which branch is shown, and asking again."""

"""Finding conversations: the list with its filters, and search over titles and text that is encrypted at rest.

The index holds keyed tokens only (`index`); whatever they point at is opened and checked before it is shown (`matching`).
"""

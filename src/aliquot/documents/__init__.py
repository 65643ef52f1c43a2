"""Files and their contents: what kind a file is, whether it is safe to keep, its text, an image fit to be shown to a model.

Hostile files are opened in a process of their own with limits on time, memory and output (`sandbox`, `extract`, `readers`).
Nothing is stored here.
"""

"""The laboratory: instruments behind a driver interface, their runs, and protocols with versions and steps.

The only driver so far is a simulator that runs in real time. Samples and storage come later in this folder.
"""

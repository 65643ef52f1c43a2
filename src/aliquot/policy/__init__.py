"""May this person do this now: Cedar bundles, decisions (allow, deny, confirm) with reasons, and approvals.

Every tool call passes here. Any engine error is a deny. It does not execute anything.
"""

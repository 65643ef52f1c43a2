"""What the assistant can do: the Tool protocol, the registry, and execution under policy.

Every call passes schema validation and the policy; results are typed and rendered by the tool itself. The tools live in the
domains that own the nouns (`lab/tools.py`, …).
"""

"""Plans: several steps of which one or more act, shown before anything happens, decided step by step or as a whole, executed one by one.

Decisions are the policy's and executions the tools', as for single calls; a plan only keeps what comes after what, and how far it came.
"""

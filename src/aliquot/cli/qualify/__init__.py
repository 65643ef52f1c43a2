"""`aliquot qualify`: installation and operation qualification on this machine, with a report signed by the log's key.

Each step states what is expected before it looks, and what was found. It supports a laboratory's validation; it is not the validation.
"""

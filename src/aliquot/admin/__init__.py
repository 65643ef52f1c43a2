"""What administrators see of the running site: use, cost, limits, caps, tools, slow runs. Never a content.

Reads what other domains tell through their doors; of its own it keeps only counts of requests and the load of each process.
"""

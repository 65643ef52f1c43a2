"""The small router: which tool, with which arguments, and how sure. Answers without the large model where that is safe.

This first router scores the tools' declared descriptions and example questions; a later one learns from the site's traffic
behind the same `api`. It never executes anything and never invents an argument value.
"""

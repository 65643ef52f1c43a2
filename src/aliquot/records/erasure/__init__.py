"""Erasure of people: their key is destroyed, what is in clear about them is deleted, and both can be proven. And the export that
gives people everything the site keeps about them.

What stays, by decision: signed statements with the printed name (21 CFR 11.50; GDPR 17(3)(b)), events of the log with the person's id,
and the id itself, which is never given to anybody else.
"""

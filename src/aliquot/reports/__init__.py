"""The compliance report: for each rule, how Aliquot supports it, and the evidence of this site in a period, from its own record.

It reads what other domains tell through their doors and keeps nothing. It never says that somebody complies: that is the laboratory's.
"""

"""Changing the policy: bundles are brought, replayed against recent decisions, signed by two administrators, activated, rolled back.

Every process loads what is active by itself; a bundle that does not hold is never loaded, and the one before stays.
"""

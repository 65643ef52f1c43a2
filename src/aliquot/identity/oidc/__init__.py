"""Single sign-on by OpenID Connect: authorization code with PKCE, people linked by issuer and subject, roles from a claim.

It opens the same sessions as a password does, and gives proofs of a fresh authentication for signing. It keeps no token of the provider.
"""

"""`aliquot chat`: the terminal client. It speaks HTTP to a server and knows nothing of the server's insides.

What a person typed is not written to this machine: only the token and the ids of the last conversation are kept.
"""

"""Guard: what a text carries, decided by rule: whether it names a patient, and whether it names the values of a call.

It reads text and answers with a class, or with what is missing. It stores nothing, changes no text and blocks nothing: who asks decides
what follows.
"""

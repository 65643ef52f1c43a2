"""Guard: what a text carries, decided by rule: whether it names a patient.

It reads text and answers with a class. It stores nothing, changes no text and blocks nothing: who asks decides what follows.
"""

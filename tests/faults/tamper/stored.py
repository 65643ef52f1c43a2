"""Classes of tampering with the database itself: (name, what is done, how it is found). `test_database.py` does each of them."""

STORED: list[tuple[str, str, str]] = []

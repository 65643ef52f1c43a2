"""Measurements of the budgets in DESIGN §6. Each module gives rows; `python -m benchmarks` writes docs/benchmarks.md."""

"""Quality on real data. `python -m evals PATH` writes docs/evals.md; only numbers leave the data, never texts."""

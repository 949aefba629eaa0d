"""Comparisons of several models: compare.py, entries.py (what is compared), run_process.py (a run in its own process), results.py, tables.py, page.py."""

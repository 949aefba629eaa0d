"""Experiments: run.py (one run from settings to run folder), setup.py, resume.py, costs.py, run_page.py (the report), compare/ (several models),
tune/ (hyperparameter search).
"""

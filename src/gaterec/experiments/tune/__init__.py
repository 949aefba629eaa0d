"""Hyperparameter search: tune.py, options.py, search_space.py (hyper.test, YAML), study.py (Optuna), scheduler.py, workers.py, ray_workers.py, trials.py,
live_table.py, tables.py, page.py.
"""

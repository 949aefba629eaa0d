"""Settings: their names, types, defaults and where their values come from.

section.py (what every group of settings shares), settings.py (every general setting), loss_names.py, metric_names.py, intervals.py, presets.py (recipes/ and protocols/), paths.py (regular files),
findings.py (what pydantic refuses, in plain words), recbole_keys.py (RecBole's settings that are refused, and why), resolve.py (which source wins).
"""

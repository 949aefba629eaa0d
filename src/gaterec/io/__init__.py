"""Files, processes and output: files.py (written whole or not at all), processes.py (child processes), console.py (terminal), output.py (escapes), html.py (pages),
database_urls.py.
"""

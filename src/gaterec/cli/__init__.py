"""The command line: app.py (commands), recommend.py (printing recommendations and explanations), settings_table.py."""

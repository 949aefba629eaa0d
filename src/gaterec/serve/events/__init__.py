"""The server's store of events: store.py (writer thread), database.py (contract), sqlite.py, postgres.py."""

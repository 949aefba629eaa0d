"""The benchmarks: each prints a table with a ratio to a peer or a floor that was measured in the same run. `python -m benchmarks --list`."""

"""Logs from files and frames: read.py (formats), delimited.py (CSV, TSV, atomic files), headers.py (is the first line a header), json_lines.py,
parts.py (folders of parts), columns.py (ids, times and numbers), unpack.py (gzip, zip), memory.py (sizes that fit).
"""

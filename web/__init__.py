"""The page of `export.py --format web`. Imports `evaluation`, `inference`, the parts, `runtime`."""

"""The page of `predict.py --serve`. Imports `evaluation`, `inference`, the parts and `runtime`."""

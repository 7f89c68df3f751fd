"""The page of `predict.py --serve`. Imports `evaluation`, `inference` and what is below them."""

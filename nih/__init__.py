"""ChestX-ray14 as NIH publishes it: download, check, cache, split. Imports `dataset`, `runtime`."""

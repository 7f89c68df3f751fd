"""Films: label lists, files, pixels, cache, loader. Imports `runtime` only."""

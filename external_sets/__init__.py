"""Other data sets' published tables, as label lists. Imports `dataset`, `runtime`."""

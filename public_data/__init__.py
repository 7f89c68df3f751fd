"""What NIH and others publish: downloads, tables, splits, labels. Imports `films`, `runtime`."""

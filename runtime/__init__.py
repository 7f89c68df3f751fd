"""The machine: command line, devices, files, batches. Imports nothing else of the project."""

"""The machine: command line, devices, processes, files. Imports nothing else of the project."""

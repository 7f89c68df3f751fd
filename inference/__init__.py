"""A trained network at work: engines, class activation maps. Imports parts, `films`, `weights`."""

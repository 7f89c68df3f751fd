"""A trained network at work: engines, class activation maps. Imports the parts and `runtime`."""

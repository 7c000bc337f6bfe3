"""The export targets, one file each; `base` defines the interface, docs/extending.md shows how to add a target."""

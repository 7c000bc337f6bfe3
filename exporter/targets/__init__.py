"""The kinds of export, one file each; `base` defines a target, docs/extending.md shows how to add one."""

"""The kinds of export, one file each; `base` says what a target is, docs/extending.md how to add one."""

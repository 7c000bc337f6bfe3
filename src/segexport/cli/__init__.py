"""The command line: one module for each group of commands; `segexport.commands` has what they do."""

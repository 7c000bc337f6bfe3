"""The schema of recipes, and their reader."""

"""Defines steps, and runs a recipe's steps to make artifacts."""

"""Adds exports to the Android app, and builds and examines the app."""

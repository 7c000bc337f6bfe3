"""Exports into the Android app, and the app into an APK."""

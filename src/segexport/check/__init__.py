"""Runs exports and their reference on the same images."""

import segexport

segexport.make_callable(__name__)

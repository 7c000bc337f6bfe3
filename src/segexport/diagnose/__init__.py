"""Finds the layer that broke an export: compares both graphs on one image, up to the first difference."""

import segexport

segexport.make_callable(__name__)

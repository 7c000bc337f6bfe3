"""Which layer broke an export, by name: both graphs are walked on one image until they part."""

import segexport

segexport.make_callable(__name__)

"""Pruning, distillation and training of exported programs."""

import segexport

segexport.make_callable(__name__)

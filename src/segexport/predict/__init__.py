"""A loaded model: predict, evaluate, pipelines."""

import segexport

segexport.make_callable(__name__)

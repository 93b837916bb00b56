"""The raw kernels on plain NumPy arrays: no tape, no framework.

Every function takes and returns NumPy arrays (float32 or float64), checks its arguments, and has a twin of the same
name and arguments in :mod:`chainrule.reference`. Inputs may be any views; outputs are fresh and C-contiguous.
"""

from chainrule.kernels.elementwise import *  # noqa: F403

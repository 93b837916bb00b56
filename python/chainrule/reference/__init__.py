"""The NumPy twin of every kernel in :mod:`chainrule.kernels`: same names, same arguments, plain formulas.

They are the oracle of the tests (run in float64) and the specification to read; they aren't fast.
"""

from chainrule.reference.elementwise import *  # noqa: F403

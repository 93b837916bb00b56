"""The NumPy twin of every kernel in :mod:`chainrule.kernels`: same names, same arguments, plain formulas.

They are the oracle of the tests (run in float64) and the specification to read; they aren't fast.
"""

from chainrule.reference.attention import *  # noqa: F403
from chainrule.reference.compare import *  # noqa: F403
from chainrule.reference.conv import *  # noqa: F403
from chainrule.reference.copy import *  # noqa: F403
from chainrule.reference.elementwise import *  # noqa: F403
from chainrule.reference.embedding import *  # noqa: F403
from chainrule.reference.index import *  # noqa: F403
from chainrule.reference.loss import *  # noqa: F403
from chainrule.reference.matmul import *  # noqa: F403
from chainrule.reference.norm import *  # noqa: F403
from chainrule.reference.optim import *  # noqa: F403
from chainrule.reference.pool import *  # noqa: F403
from chainrule.reference.random import *  # noqa: F403
from chainrule.reference.recurrent import *  # noqa: F403
from chainrule.reference.reduce import *  # noqa: F403
from chainrule.reference.softmax import *  # noqa: F403

"""The raw kernels on plain NumPy arrays: no tape, no framework.

Every function takes and returns NumPy arrays, checks its arguments, and has a twin of the same name and arguments in
:mod:`chainrule.reference` (but for ``empty`` and ``full``, which make memory). Unless a module says otherwise, arrays
are float32 or float64, all of one dtype; inputs may be any views; outputs are fresh, and C-contiguous but where they
keep the order of the input: element-wise functions, convolutions, pooling, batch norm, attention. TypeError for another
dtype, ValueError for anything else that doesn't fit, naming the function and the argument; nothing has been written
then.
"""

from chainrule.kernels.attention import *  # noqa: F403
from chainrule.kernels.compare import *  # noqa: F403
from chainrule.kernels.conv import *  # noqa: F403
from chainrule.kernels.copy import *  # noqa: F403
from chainrule.kernels.elementwise import *  # noqa: F403
from chainrule.kernels.embedding import *  # noqa: F403
from chainrule.kernels.index import *  # noqa: F403
from chainrule.kernels.loss import *  # noqa: F403
from chainrule.kernels.matmul import *  # noqa: F403
from chainrule.kernels.norm import *  # noqa: F403
from chainrule.kernels.optim import *  # noqa: F403
from chainrule.kernels.pool import *  # noqa: F403
from chainrule.kernels.random import *  # noqa: F403
from chainrule.kernels.recurrent import *  # noqa: F403
from chainrule.kernels.reduce import *  # noqa: F403
from chainrule.kernels.softmax import *  # noqa: F403

"""Every differentiable operation: one file per family, gathered here under PyTorch's names.

CAUTION: some families are called as one of their functions; ``ops.matmul`` is the function.
"""

from chainrule.ops.activation import *  # noqa: F403
from chainrule.ops.attention import *  # noqa: F403
from chainrule.ops.comparison import *  # noqa: F403
from chainrule.ops.conv import *  # noqa: F403
from chainrule.ops.elementwise import *  # noqa: F403
from chainrule.ops.embedding import *  # noqa: F403
from chainrule.ops.indexing import *  # noqa: F403
from chainrule.ops.joining import *  # noqa: F403
from chainrule.ops.loss import *  # noqa: F403
from chainrule.ops.matmul import *  # noqa: F403
from chainrule.ops.norm import *  # noqa: F403
from chainrule.ops.pool import *  # noqa: F403
from chainrule.ops.random import *  # noqa: F403
from chainrule.ops.recurrent import *  # noqa: F403
from chainrule.ops.reduce import *  # noqa: F403
from chainrule.ops.softmax import *  # noqa: F403
from chainrule.ops.unary import *  # noqa: F403
from chainrule.ops.view import *  # noqa: F403

"""Every differentiable operation: one file per family, gathered here under PyTorch's names."""

from chainrule.ops import (
    comparison,
    conv,
    elementwise,
    embedding,
    indexing,
    inplace,  # noqa: F401  (the tensor's methods reach it here)
    joining,
    loss,
    matmul,
    norm,
    pool,
    random,
    reduce,
    softmax,
    view,
)
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
from chainrule.ops.reduce import *  # noqa: F403
from chainrule.ops.softmax import *  # noqa: F403
from chainrule.ops.view import *  # noqa: F403

__all__: list[str] = []
__all__ += comparison.__all__
__all__ += conv.__all__
__all__ += elementwise.__all__
__all__ += embedding.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += loss.__all__
__all__ += matmul.__all__
__all__ += norm.__all__
__all__ += pool.__all__
__all__ += random.__all__
__all__ += reduce.__all__
__all__ += softmax.__all__
__all__ += view.__all__

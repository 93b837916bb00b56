"""What training scripts need besides the model: data sets and loaders, checkpointing."""

from chainrule.utils import checkpoint, data

__all__ = ["checkpoint", "data"]

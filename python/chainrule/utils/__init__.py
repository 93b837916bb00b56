"""What training scripts need besides the model: data sets and loaders."""

from chainrule.utils import data

__all__ = ["data"]

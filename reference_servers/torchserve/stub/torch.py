"""Stands for PyTorch, of which TorchServe's own worker uses one name: it asks of each answer whether it is a tensor.

Installed beside TorchServe by `environment`. It spares 0.2 to 2 GB per release, and two seconds per start of a worker.
"""


class Tensor:
    """No answer of the models here is one."""

"""Stands for PyTorch, of which TorchServe's own worker uses one name: it asks of each answer whether it is a tensor.

Workers find it on their PYTHONPATH. It spares 0.2 to 2 GB per release, and seconds at each start of a worker.
"""


class Tensor:
    """No answer of the models here is one."""

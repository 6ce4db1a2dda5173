"""ONNX: a network as the graph that other libraries read and run (extra ``onnx``).

``record.py`` runs the model at several batch sizes, and ``sizes.py`` makes one program of what it does, ``steps.py``.
``patterns.py`` and ``images.py`` find what ONNX has one operator for; ``translate.py`` and ``movement.py`` say how each
primitive is written otherwise; ``graph.py`` collects the nodes, and ``export.py`` checks them and writes the file.
"""

from vugrad.interchange.onnx.export import export_onnx

__all__ = ["export_onnx"]

"""ONNX: a network as the graph that other libraries read and run (extra ``onnx``).

``record.py`` runs the model at three batch sizes and makes one program of them, ``steps.py`` is that program;
``patterns.py`` finds what ONNX has one operator for, ``translate.py`` says how every primitive is written otherwise,
``graph.py`` collects nodes and initializers, and ``export.py`` checks the graph and writes the file.
"""

from vugrad.interchange.onnx.export import export_onnx

__all__ = ["export_onnx"]

"""Floor 3: networks come and go in the field's formats: safetensors, PyTorch's state dicts, ONNX, and C.

``tensors.py`` reads and writes arrays by name, ``weights.py`` those of a module; ``torchfile.py`` reads what
``torch.save`` wrote; ``onnx/`` and ``native.py`` write a whole network, from the program that the compiler records.
"""

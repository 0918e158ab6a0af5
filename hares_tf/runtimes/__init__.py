"""Graphs of TensorFlow in runtimes that are not TensorFlow: OpenVINO on a CPU, LiteRT on devices.

Knows nothing of encoders: a graph is a function of tensors, or the folder of a SavedModel. Neither
runtime is a dependency of the package (extras `openvino` and `tflite`).
"""

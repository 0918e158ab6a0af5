"""TensorFlow graphs in other runtimes: OpenVINO on CPUs, LiteRT on devices.

This package knows nothing of encoders: a graph is a function of tensors, or the folder of a
SavedModel. Neither runtime is a dependency of hares-tf (extras `openvino` and `tflite`).
"""

"""The expected ranges of scores on the mini suite."""

# Task -> lowest and highest percent of `log_mel_statistics` under protocol `fast/2`. A range allows
# for one or two clips that other machines classify differently. Shuffled labels, windows of half or
# twice the length, the first window alone, or the maximum instead of the mean over windows lead to
# scores outside the range, wherever the task can detect them (tests/evaluation/mini/test_mini.py).
RANGES: dict[str, tuple[float, float]] = {
    "mini_audioset": (71, 80),
    "mini_birdsong": (80, 95),
    "mini_tut18": (70, 93),
    "mini_esc50": (52, 67),
    "mini_speech_commands_v1": (76, 91),
    "mini_speech_commands_v2": (77, 90),
    "mini_fluent_speech_commands": (32, 51),
    "mini_voxforge": (66, 90),
    "mini_voxceleb1": (66, 90),
    "mini_nsynth_instrument": (77, 97),
    "mini_nsynth_pitch": (58, 76),
    "mini_magnatagatune": (79, 90),
}

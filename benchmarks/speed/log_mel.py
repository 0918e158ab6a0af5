"""Log-mel of 3-second clips: this package's frontend against librosa, in one run."""

import numpy as np
from timing import interleaved, median_ratio, milliseconds, verdict

import hares_tf.audio

CLIPS = 16


def main() -> None:
    import librosa
    import tensorflow as tf

    waveforms = np.random.default_rng(0).uniform(-1, 1, (CLIPS, 48_000)).astype(np.float32)
    frontend = hares_tf.audio.LogMel()
    ours = tf.function(frontend, input_signature=[tf.TensorSpec([None, None], tf.float32)])

    def with_librosa() -> None:
        for waveform in waveforms:
            mel = librosa.feature.melspectrogram(
                y=waveform,
                sr=16_000,
                n_fft=512,
                win_length=400,
                hop_length=160,
                n_mels=80,
                fmin=80,
                fmax=7600,
                htk=True,
                norm=None,
                power=1.0,
            )
            np.log1p(10_000 * mel)

    seconds = interleaved(
        {"hares_tf": lambda: ours(waveforms).numpy(), "librosa": with_librosa}, rounds=15
    )
    for name, values in seconds.items():
        print(f"     log-mel, {name}: {milliseconds(values, CLIPS)} a clip")
    verdict(
        "log-mel speed relative to librosa",
        median_ratio(seconds["librosa"], seconds["hares_tf"]),
        1.0,
    )


if __name__ == "__main__":
    main()

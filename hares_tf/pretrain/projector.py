"""Embeddings of some clips for TensorBoard's projector, which shows them in two or three axes."""

from pathlib import Path

import numpy as np

from hares_tf.data import Crops, batches
from hares_tf.data.clip_set import ClipSet
from hares_tf.pretrain.learner import float_waveform
from hares_tf.utils.files import atomic_file

_CONFIG = "projector_config.pbtxt"
_MAX_BATCH = 64


class ProjectorEmbeddings:
    """Writes the encoder's embeddings of the same clips again and again.

    Args:
        folder: TensorBoard's log folder.
        clips: the clips that are trained on.
        config: of the run; `projector_clips` says how many.
        sample_rate: of the encoder.
    """

    def __init__(self, folder: Path, clips: ClipSet, config, sample_rate: int):
        self._folder = folder
        self._keep = config.keep
        crops = Crops(views=1, seconds=config.crops.seconds, sample_rate=sample_rate)
        count = min(config.projector_clips, clips.n_clips)
        labelled = bool(clips.label_names)
        # The first batch of an order that training does not use.
        batch = next(
            iter(
                batches(
                    clips,
                    crops,
                    replica_batch=count,
                    seed=config.seed + 1,
                    labels=labelled,
                    block_clips=1,
                )
            )
        )
        self._audio = batch["audio"][:, 0]
        self._names = [f"clip {number}" for number in batch["clip"].numpy()]
        if labelled:
            self._names = [
                "; ".join(clips.label_names[i] for i in np.flatnonzero(row)) or "no label"
                for row in batch["labels"].numpy()
            ]

    def write(self, encoder, step: int) -> None:
        """Embeds the clips with the encoder as it is; appears in TensorBoard as "step N"."""
        embeddings = np.concatenate(
            [
                np.asarray(encoder(float_waveform(self._audio[first : first + _MAX_BATCH])))
                for first in range(0, len(self._names), _MAX_BATCH)
            ]
        )
        rows = ("\t".join(f"{value:.6g}" for value in row) for row in embeddings)
        self._write(f"step-{step:08d}.tsv", rows)
        # Tabs and line ends would shift the table.
        self._write("labels.tsv", (" ".join(name.split()) for name in self._names))
        self._forget(step)
        parts = [
            f'embeddings {{\n  tensor_name: "step {int(path.stem.removeprefix("step-"))}"\n'
            f'  tensor_path: "{path.name}"\n  metadata_path: "labels.tsv"\n}}'
            for path in sorted(self._folder.glob("step-*.tsv"), reverse=True)
        ]
        self._write(_CONFIG, parts)

    def _forget(self, step: int) -> None:
        """Keeps as many as checkpoints, and none of steps that a resumed run has yet to do."""
        for path in sorted(self._folder.glob("step-*.tsv"))[: -self._keep]:
            path.unlink()
        for path in self._folder.glob("step-*.tsv"):
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()

    def _write(self, name: str, lines) -> None:
        with atomic_file(self._folder / name) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

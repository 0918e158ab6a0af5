"""The embedding store: megabytes a second, written and read, beside plain NumPy files."""

import tempfile
import time
from pathlib import Path

import numpy as np
from timing import verdict

CLIPS, DIM = 60_000, 3456
BLOCK = 500


def main() -> None:
    from hares_tf.evaluation.embeddings.store import EmbeddingStore
    from hares_tf.evaluation.heads.examples import matrix

    random = np.random.default_rng(0)
    rows = random.standard_normal((BLOCK, 1, DIM)).astype(np.float32)
    keys = [f"{number:064x}" for number in range(CLIPS)]
    megabytes = CLIPS * DIM * 4 / 1e6
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        started = time.perf_counter()
        for number in range(CLIPS // BLOCK):
            np.save(folder / f"{number}.npy", rows)
        plain = time.perf_counter() - started
        for number in range(CLIPS // BLOCK):
            (folder / f"{number}.npy").unlink()

        space = EmbeddingStore(folder / "store").space({"bench": 1})
        started = time.perf_counter()
        with space.writer(notes={}) as writer:
            for number, key in enumerate(keys):
                writer.add(key, rows[number % BLOCK])
        written = time.perf_counter() - started

        started = time.perf_counter()
        space = EmbeddingStore(folder / "store").space({"bench": 1})
        opened = time.perf_counter() - started
        started = time.perf_counter()
        gathered = space.gather(keys, lambda n, dim: matrix(n, dim, folder / "scratch"))
        read = time.perf_counter() - started
        assert np.array_equal(gathered[-1], rows[(CLIPS - 1) % BLOCK, 0])
    print(f"     {megabytes:.0f} MB; as plain npy files: {megabytes / plain:.0f} MB/s")
    verdict("store, writing", megabytes / written, 500, " MB/s")
    verdict("store, reading in order", megabytes / read, 500, " MB/s")
    verdict("store, opening (checks every shard)", megabytes / opened, 500, " MB/s")


if __name__ == "__main__":
    main()

"""Does pretraining on real recordings help? The whole chain, as a user would run it.

    python benchmarks/recordings.py --data=FOLDER --work=FOLDER [--config=recordings_simclr]

`--data` is a folder with the sets esc10, fsdd, langid3, notes_cc0, speech_commands_12 and
speech_commands_v1_mini, each with a metadata.csv. A clip is trained on if it is a training clip in
every split column of its set that says anything about it, and of ESC-10 if it is not of fold 5;
copies of held-out clips in another set are left out. Then the pretrained network, the same network
with random weights, and log-mel statistics are scored on six tasks with the protocol `fast`, ESC-10
on fold 5 alone, and a report with intervals of the differences is written. What is done already is
not done again: give the same --work with another --name to try another recipe.
"""

import argparse
import csv
import hashlib
import os
import shutil
import sys
from pathlib import Path

SETS = (
    "esc10", "fsdd", "langid3", "notes_cc0", "speech_commands_12", "speech_commands_v1_mini",
)  # fmt: skip
# Task: set, column of the label, column of the split, seconds of a window, domain. The clips of one
# of the languages are longer than the others: see ONE_WINDOW.
TASKS = {
    "esc10": ("esc10", "label", "split", 5.0, "environment"),
    "keyword": ("speech_commands_12", "label", "split_keyword", 1.0, "speech"),
    "speaker": ("speech_commands_12", "speaker", "split_speaker", 1.0, "speech"),
    "langid3": ("langid3", "label", "split", 0.85, "speech"),
    "instrument": ("notes_cc0", "instrument", "split_instrument", 4.0, "music"),
    "pitch": ("notes_cc0", "pitch", "split_pitch", 1.0, "music"),
}
# Scored on one window, shorter than every clip, so that lengths do not tell the label.
ONE_WINDOW = ("langid3",)
HELD_OUT_FOLD = "5"


def copy_sets(data: Path, work: Path) -> Path:
    """The sets beside task files whose ESC-10 has a split instead of folds."""
    root = work / "data"
    if (root / "done").exists():
        return root
    for name in SETS:
        shutil.copytree(data / name, root / name, dirs_exist_ok=True)
    table = root / "esc10" / "metadata.csv"
    rows = read_rows(table)
    for row in rows:
        row["split"] = "test" if row["fold"] == HELD_OUT_FOLD else "train"
    write_rows(table, rows)
    for task, (folder, label, split, seconds, domain) in TASKS.items():
        (root / f"{task}.toml").write_text(
            f'id = "{task}"\ndomain = "{domain}"\nmanifest = "{folder}/metadata.csv"\n'
            f"window_seconds = {seconds}\n{'windows = 1' * (task in ONE_WINDOW)}\n\n"
            f'[columns]\nfile = "file"\nlabel = "{label}"\nsplit = "{split}"\n'
        )
    (root / "done").touch()
    return root


def read_rows(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def training_table(root: Path, labeled: bool) -> Path:
    """A CSV of the clips to train on; their labels are named after the set."""
    path = root / ("labeled.csv" if labeled else "unlabeled.csv")
    train, held_out = [], set()
    for name in SETS:
        for row in read_rows(root / name / "metadata.csv"):
            file = f"{name}/{row['file']}"
            digest = hashlib.sha256((root / file).read_bytes()).hexdigest()
            # Copies in another set may be encoded anew: file names of speech commands are unique.
            word = f"{Path(file).stem}/{row.get('word') or row.get('label')}"
            if all(row[key] == "train" for key in row if key.startswith("split") and row[key]):
                train.append((file, row, digest, word, name))
            else:
                held_out |= {digest, word}
    rows = [
        {"file": file, "label": labels_of(row, name) if labeled else ""}
        for file, row, digest, word, name in train
        if digest not in held_out and word not in held_out
    ]
    write_rows(path, rows)
    copies = len(train) - len(rows)
    print(f"{len(rows)} clips to train on; {copies} copies of held-out ones are left out")
    return path


def labels_of(row: dict, name: str) -> str:
    """All that a set says of a clip, as labels of a multi-label classifier."""
    columns = {
        "esc10": ["label"],
        "fsdd": ["label", "speaker"],
        "langid3": ["label", "word"],
        "notes_cc0": ["instrument", "pitch"],
        "speech_commands_12": ["label", "speaker"],
        "speech_commands_v1_mini": ["label"],
    }[name]
    return ";".join(f"{name}:{column}:{row[column]}" for column in columns if row[column])


def run(command, *arguments: str) -> None:
    """Runs one of the package's commands in this process."""
    print("$", command.__module__.removesuffix(".command"), *arguments, flush=True)
    status = command(list(arguments))
    if status:
        sys.exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", default="recordings_simclr")
    parser.add_argument("--name", help="of the run; default: the configuration's")
    parser.add_argument("--labeled", action="store_true", help="train on the labels")
    parser.add_argument("--tasks", default=",".join(TASKS))
    known, overrides = parser.parse_known_args()
    name = known.name or known.config
    os.environ["HARES_CACHE_DIR"] = str(known.work / "cache")

    from hares_tf.commands.evaluate import main as evaluate
    from hares_tf.commands.export import main as export
    from hares_tf.commands.prepare import main as prepare
    from hares_tf.commands.pretrain import main as pretrain
    from hares_tf.commands.report import main as report
    from hares_tf.pretrain.run_record import read_record

    root = copy_sets(known.data, known.work)
    clips = known.work / ("clips-labeled" if known.labeled else "clips")
    if not (clips / "clips.json").exists():
        table = training_table(root, known.labeled)
        column = "label" if known.labeled else ""
        run(
            prepare, f"--audio={root}", f"--labels={table}", f"--label_column={column}",
            f"--output={clips}", "--workers=1",
        )  # fmt: skip
    workdir = known.work / "runs" / name
    run(pretrain, f"--config={known.config}", f"--data={clips}", f"--workdir={workdir}", *overrides)
    model = read_record(workdir)["model"]
    exports = known.work / "exports"
    wanted = {
        "log_mel_statistics": ["--model=log_mel_statistics"],
        f"{model}_random": [f"--model={model}", "--random_weights", "--seed=0"],
        name: [f"--checkpoint={workdir}"],
    }
    for module, arguments in wanted.items():
        if not (exports / module).exists():
            run(export, *arguments, f"--name={module}", f"--output={exports / module}")
    tasks = ",".join(str(root / f"{task}.toml") for task in known.tasks.split(","))
    results = known.work / "results"
    run(
        evaluate, *(f"--handle={exports / module}" for module in wanted), f"--tasks={tasks}",
        f"--data_dir={root}", f"--output={results}",
    )  # fmt: skip
    run(
        report, str(results), f"--output={known.work / 'report.html'}",
        f"--output={known.work / 'report.md'}", "--resamples=10000",
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""The paper's tables as data: against the paper's text, and against themselves.

Printed averages are the strongest check that needs no paper: a score that is off by more than a few
tenths moves the mean of its domain beyond `AVERAGE_TOLERANCE` (0.05 and binary rounding: the paper
averaged before it rounded to 0.1). What that cannot see, the comparison with the text does.
"""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.published import (
    AVERAGE_TOLERANCE,
    AVERAGES,
    DOMAIN_TASKS,
    OBJECTIVES,
    TABLES,
    TASKS,
    averages,
    rows,
    stages,
)

# How each table names its lines of numbers; typed from the paper, not taken from the data.
LINES = {
    "AudioSet": "audioset",
    "Birdsong": "birdsong",
    "TUT18": "tut18",
    "ESC-50": "esc50",
    "Speech Comm. v1": "speech_commands_v1",
    "Speech Comm. v2": "speech_commands_v2",
    "VoxForge": "voxforge",
    "VoxCeleb": "voxceleb1",
    "Fluent Comm.": "fluent_speech_commands",
    "NSynth-Pitch": "nsynth_pitch",
    "NSynth-Instrument": "nsynth_instrument",
    "MagnaTagATune": "magnatagatune",
}


def wrong_averages(row):
    """Names of the printed averages that do not follow from the row's scores."""
    computed = averages(row.scores)
    return [n for n in AVERAGES if abs(computed[n] - row.averages[n]) > AVERAGE_TOLERANCE]


def complete_rows():
    return [row for row in rows() if row.complete]


def identity(row):
    return row.model, row.objective, row.training_data, row.source


def test_every_printed_average_follows_from_the_scores():
    cells = {table: 0 for table in TABLES}
    for row in complete_rows():
        assert wrong_averages(row) == [], row
        cells[row.table] += len(row.averages)
    assert cells == {2: 0, 3: 0, 4: 24, 6: 24, 7: 24, 8: 24, 9: 24}


def test_a_wrong_score_or_average_is_noticed():
    # 1.0 in one of five scores moves their mean by 0.2, beyond twice the tolerance.
    for row in complete_rows():
        for task_id, score in row.scores.items():
            for error in (-1.0, 1.0):
                wrong = replace(row, scores={**row.scores, task_id: score + error})
                domain = TASKS[task_id].domain
                assert domain in wrong_averages(wrong), (row.table, row.name, task_id)
        for name, average in row.averages.items():
            wrong = replace(row, averages={**row.averages, name: average + 0.2})
            assert wrong_averages(wrong) == [name]


def test_hares_is_not_the_mean_of_the_domain_means():
    def mean_of_domains(row):
        means = averages(row.scores)
        return sum(means[domain] for domain in DOMAIN_TASKS) / 3

    full = complete_rows()
    off = [
        row for row in full if abs(mean_of_domains(row) - row.averages["hares"]) > AVERAGE_TOLERANCE
    ]
    # It coincides for CNN14 with the classification loss alone, which stands in Tables 4 and 6.
    assert {identity(row) for row in full if row not in off} == {
        ("cnn14", "classification", "AudioSet", "ours")
    }
    assert len(full) == 30 and len(off) == 28


def test_tables_agree_with_each_other():
    detailed = {identity(row): row for row in rows() if row.table in (6, 7, 8, 9)}
    detailed |= {identity(r): r for r in rows(4) if r.complete and identity(r) not in detailed}
    compared = {2: 0, 3: 0, 4: 0}
    without = []
    for row in [*rows(2), *rows(3), *(r for r in rows(4) if r.complete)]:
        detail = detailed.get(identity(row))
        if detail is None:
            without.append(row)
        elif detail.table != row.table:
            printed = {k: v for k, v in {**row.scores, **row.averages}.items() if v is not None}
            found = {**detail.scores, **detail.averages}
            assert printed == {name: found[name] for name in printed}, row
            compared[row.table] += len(printed)
    # 19 models with five numbers, 6 with four, and 3 of Table 4 with all sixteen.
    assert compared == {2: 95, 3: 24, 4: 48}

    assert [row.name for row in without] == ["Bidir-CPC (LS)", "Wav2Vec2.0"]
    for row in without:
        means = row.averages
        weighted = sum(len(ids) * means[domain] for domain, ids in DOMAIN_TASKS.items()) / 12
        assert means["hares"] == pytest.approx(weighted, abs=0.05)


def test_spot_values():
    def find(table, name, objective, training_data="AudioSet"):
        (row,) = (
            r
            for r in rows(table)
            if (r.name, r.objective, r.training_data) == (name, objective, training_data)
        )
        return row

    ours = find(9, "SF NFNet-F0", "simclr")
    assert (ours.model, ours.parameters) == ("slowfast_nfnet_f0", "63m")
    assert ours.scores["voxceleb1"] == 64.9 and ours.averages["hares"] == 74.6
    assert find(2, "NFNet-F0", "classification").scores["audioset"] == 39.6
    assert find(2, "ViT-Base", "simclr").averages["speech"] == 56.5
    assert find(2, "Bidir-CPC (LS)", "cpc", "LibriSpeech").averages["music"] == 51.5
    assert find(3, "SF ResNet50-IN", "simclr").train_step_ms == 207.9
    assert find(3, "SF NFNet-F0", "simclr").train_step_ms == 280.9
    wav2vec2 = find(4, "Wav2Vec2.0 (ours, LS)", "wav2vec2", "LibriSpeech")
    assert wav2vec2.scores["fluent_speech_commands"] == 55.3
    assert wav2vec2.input_format == "Waveform"
    assert find(6, "EfficientNet-B0", "classification").scores["voxceleb1"] == 13.8
    assert find(7, "CNN14", "simclr").scores["nsynth_pitch"] == 36.1
    assert find(8, "SF ResNet50 no norm", "classification").scores["tut18"] == 90.7

    peers = {row.name: row for row in rows(4) if row.source != "ours"}
    reported = [sum(v is not None for v in row.scores.values()) for row in peers.values()]
    assert reported == [7, 5, 2, 1]
    assert peers["COLA"].scores["voxceleb1"] == 29.9 and "2010.10915" in peers["COLA"].source
    assert peers["BYOL-A"].scores["nsynth_instrument"] == 74.1
    assert peers["PANNs-CNN14"].scores["audioset"] == 37.5 and peers["PANNs-CNN14"].note
    assert peers["CLMR"].scores["magnatagatune"] == 36.0
    assert set(peers["CLMR"].averages.values()) == {None}


def test_rows_are_well_formed_and_their_own():
    by_table = [len(rows(table)) for table in TABLES]
    assert by_table == [21, 6, 10, 6, 6, 6, 6] and len(rows()) == 61
    for row in rows():
        assert row.objective in OBJECTIVES
        assert tuple(row.scores) == tuple(TASKS) and tuple(row.averages) == AVERAGES
        numbers = [v for v in (*row.scores.values(), *row.averages.values()) if v is not None]
        assert all(isinstance(v, float) and 0 < v < 100 and v == round(v, 1) for v in numbers)
    for table in TABLES:
        assert len({identity(row) for row in rows(table)}) == len(rows(table))
    rows(9)[0].scores["audioset"] = 0.0
    assert rows(9)[0].scores["audioset"] == 35.9


@pytest.mark.parametrize("table", [1, 5, 10, "9"])
def test_a_table_without_scores_is_an_error(table):
    with pytest.raises(EvaluationError, match="tables with scores are 2, 3, 4, 6"):
        rows(table)


def test_averages_of_incomplete_scores():
    scores = {task_id: 10.0 for task_id in DOMAIN_TASKS["music"]} | {"someone_elses": 99.0}
    assert averages(scores) == {"environment": None, "speech": None, "music": 10.0, "hares": None}
    assert averages({**scores, "nsynth_pitch": None})["music"] is None
    assert averages({**scores, "nsynth_pitch": 0.0})["music"] == pytest.approx(20 / 3)
    assert set(averages(dict.fromkeys(TASKS, 50.0)).values()) == {50.0}


def test_domains_hold_four_five_and_three_tasks():
    assert {domain: len(ids) for domain, ids in DOMAIN_TASKS.items()} == {
        "environment": 4,
        "speech": 5,
        "music": 3,
    }
    assert [i for ids in DOMAIN_TASKS.values() for i in ids] == list(TASKS)
    assert sum(task.metric == "mAP" for task in TASKS.values()) == 2


def test_the_stages_fit_together():
    found = {stage.name: stage for stage in stages()}
    last = found["block4"].convolutions
    assert last["slow"][-1][-1] + last["fast"][-1][-1] == 1728
    # Strides lead from one size to the next, for every stage that prints both.
    for path in ("slow", "fast"):
        size = found["spectrogram"].size["input"]
        for stage in stages()[1:]:
            if path in stage.stride:
                size = tuple(n // s for n, s in zip(size, stage.stride[path], strict=True))
                assert stage.size[path] == size, (stage.name, path)


def test_reading_imports_neither_tensorflow_nor_numpy():
    code = (
        "import sys; from hares_tf.evaluation import published; published.rows();"
        "sys.exit(bool({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# ------------------------------------------------------------------ against the paper's own text


@pytest.fixture(scope="module")
def paper(shared_dir):
    """Cells of every table of the paper, by number; marks of best and second best removed."""
    file = shared_dir / "paper" / "towards-learning-universal-audio-representations.md"
    if not file.is_file():
        pytest.skip(f"no text of the paper at {file}")
    tables, current = {}, None
    for line in file.read_text(encoding="utf-8").splitlines():
        caption = re.match(r"\*\*Table (\d+):", line)
        if caption:
            current = tables.setdefault(int(caption[1]), [])
        elif "\t" in line:
            cells = re.sub(r"</?[biu]>|<hr/>", "", line).split("\t")
            current.append([re.sub(r"\s*/\s*", "/", cell).strip() for cell in cells])
    return tables


def printed(value):
    return "-" if value is None else f"{value:.1f}"


def test_text_of_table_1(paper):
    lines = [line for line in paper[1][1:] if line[1]]
    assert lines == [
        [task.name, task.kind, task.samples, str(task.classes), task.used_in]
        for task in TASKS.values()
    ]


def test_text_of_table_2(paper):
    found = {}
    for row in rows(2):
        key = (row.name, row.parameters, row.input_format, row.used_in)
        found.setdefault(key, []).append([*row.averages.values(), row.scores["audioset"]])
        assert ("(LS)" in row.name) == (row.training_data == "LibriSpeech")
    lines = [line for line in paper[2][1:] if line[0]]
    assert lines == [
        [*key, *("/".join(map(printed, pair)) for pair in zip(*groups, strict=True))]
        for key, groups in found.items()
    ]
    assert sum(len(line[4:]) * len(line[4].split("/")) for line in lines) == 105


def test_text_of_table_3(paper):
    assert paper[3][1:] == [
        [row.name, *map(printed, row.averages.values()), f"{row.train_step_ms} ms"]
        for row in rows(3)
    ]


@pytest.mark.parametrize("table", [4, 6, 7, 8, 9])
def test_text_of_the_detailed_tables(paper, table):
    found = rows(table)
    heading, *lines = paper[table]
    if table in (8, 9):
        norms, lines = lines[0], lines[1:]
        heading = [heading[0], *(f"SF ResNet50 {n}" for n in norms[1:5]), *heading[5:]]
    names = [re.sub(r" \[\d+\]", "", name) for name in heading[1:]]
    assert names == [row.name for row in found]
    if table == 4:
        cited = [re.search(r"\[\d+\]$", name) for name in heading[1:]]
        assert [c and c[0] for c in cited] == [
            None if row.source == "ours" else row.source.split()[0] for row in found
        ]

    domains, cells = iter(("environment", "speech", "music")), 0
    for name, *values in lines:
        if not any(values):
            continue  # The heading of a domain.
        key = LINES.get(name) or ("hares" if name == "HARES" else next(domains))
        assert name in LINES or name in ("HARES", "Avg.")
        ours = [printed({**row.scores, **row.averages}[key]) for row in found]
        assert [value.rstrip("*") for value in values] == ours, name
        starred = [row.name for row, v in zip(found, values, strict=True) if v.endswith("*")]
        assert starred == ([row.name for row in found if row.note] if key == "audioset" else [])
        cells += len(values)
    assert cells == 16 * len(found)


def test_text_of_table_5(paper):
    lines = {line[0]: line[1:] for line in paper[5][1:]}
    assert list(lines) == [*(s.name for s in stages()), "Global average pool & concatenate"]
    for stage in stages():
        slow, fast, size = lines[stage.name]
        for path, text in (("slow", slow), ("fast", fast)):
            kernels = re.findall(r"(\d+) \\times (\d+), (\d+)", text)
            assert [tuple(map(int, k)) for k in kernels] == [*stage.convolutions.get(path, ())]
            stride = re.search(r"stride (\d+), (\d+)", text)
            assert (stride and tuple(map(int, stride.groups()))) == stage.stride.get(path)
            repeats = re.search(r"bmatrix} \\times (\d+)", text)
            assert int(repeats[1] if repeats else 1) == stage.repeats
        sizes = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) \\times (\d+)", size)]
        assert sizes == list(stage.size.values())

"""Content of a report, independent of its format."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hares_tf.evaluation.report.comparison import Row, Table
from hares_tf.evaluation.report.differences import Differences
from hares_tf.evaluation.report.names import model_names
from hares_tf.evaluation.report.ranking import Ranking, ranking
from hares_tf.evaluation.report.reading import Result


@dataclass(frozen=True)
class ClassScore:
    """The score of one class or tag on the tested clips that have it."""

    name: str
    clips: int
    score: float  # percent: recall of a class, average precision of a tag
    mistaken: str = ""  # the class it is most often mistaken for
    times: int = 0  # number of those mistakes


@dataclass(frozen=True)
class Detail:
    """Confusions and worst classes of one model on one label group of a task.

    Attributes:
        group: name of the label group; "" where a task has only one.
        names: of the classes; empty for tags.
        matrix: confusion matrix `[classes][classes]`, true classes down; None for tags and for too
            many classes to show.
        classes: the worst classes first.
        n_classes: classes with tested clips.
        pairs: (true class, answer, clips), the most frequent mistakes first.
    """

    group: str
    names: tuple[str, ...]
    matrix: list[list[int]] | None
    classes: tuple[ClassScore, ...]
    n_classes: int
    pairs: tuple[tuple[str, str, int], ...] = ()


@dataclass
class Content:
    """Everything a report shows.

    Attributes:
        tables: by protocol identity and suite.
        results: all of them.
        paper_tables: numbers of the paper's tables beside them.
        details: by (model key, suite, task, identity).
        differences: of models on the same clips, by (suite, task, identity).
        problems: sentences about what was skipped or cannot be shown.
    """

    tables: list[Table]
    results: tuple[Result, ...]
    paper_tables: tuple[int, ...]
    details: dict[tuple, list[Detail]] = field(default_factory=dict)
    differences: dict[tuple[str, str, str], Differences] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def identities(self) -> list[str]:
        """Identities of the protocols, in the order of the tables."""
        return list(dict.fromkeys(table.identity for table in self.tables))

    def tables_of(self, identity: str) -> list[Table]:
        """Returns the tables of one protocol identity."""
        return [table for table in self.tables if table.identity == identity]

    def differences_of(self, table: Table) -> list[tuple[Row, Differences]]:
        """Returns the tasks of a table on which models were compared, and their differences."""
        rows = [
            (row, self.differences.get((table.suite, row.id, table.identity), {}))
            for row in table.task_rows
        ]
        return [(row, differences) for row, differences in rows if differences]

    def ranking_of(self, table: Table) -> Ranking | None:
        """Returns the models of a table by their mean score, None where nothing can be ranked."""
        return ranking(table, {row.id: pairs for row, pairs in self.differences_of(table)})

    def details_of(self, table: Table) -> Iterator[tuple[Row, str, list[Detail]]]:
        """Yields task, name of the model and its details, where there are any."""
        for row in table.task_rows:
            for model, name in zip(table.models, table.names, strict=True):
                if found := self.details.get((model, table.suite, row.id, table.identity)):
                    yield row, name, found

    def names(self) -> dict[str, str]:
        """Returns distinct names of the models by key."""
        return model_names(self.results)

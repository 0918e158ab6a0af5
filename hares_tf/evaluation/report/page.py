"""Report as one self-contained HTML page without scripts and requests; all text is escaped."""

import re
from importlib import resources

from markupsafe import Markup, escape

from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.differences import signed
from hares_tf.evaluation.report.provenance import COLUMNS, choice_rows, provenance
from hares_tf.evaluation.report.svg import SERIES
from hares_tf.evaluation.report.values import text
from hares_tf.evaluation.report.views import table_view


def page(content: Content) -> str:
    """Returns a report as HTML."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["breaks"] = _breaks
    templates.filters["chip"] = _chip
    templates.filters["signed"] = signed
    views = [table_view(content, table) for table in content.tables]
    return templates.get_template("page.html.j2").render(
        summary=_summary(content),
        problems=content.problems,
        views=views,
        contents=[(view, _parts(view)) for view in views],
        several_identities=len(content.identities) > 1,
        paper_tables=content.paper_tables,
        has_paper=any(table.paper for table in content.tables),
        provenance=provenance(content),
        columns=COLUMNS,
        choices=choice_rows(content),
        machines=len({text(r.section("environment").get("cpu")) for r in content.results}),
    )


def _breaks(words: str) -> Markup:
    """Returns escaped text that a browser may break after `_`, `-` and `/`."""
    return Markup("<wbr>").join(escape(piece) for piece in re.split(r"(?<=[_\-/])", words))


def _chip(series: int) -> Markup:
    """Returns the number of a model in the color of its series."""
    return Markup('<span class="chip s{}">{}</span>').format(series % SERIES, series + 1)


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _summary(content: Content) -> list[str]:
    tasks = {(result.suite, result.task) for result in content.results}
    dates = sorted(result.finished[:10] for result in content.results if result.finished)
    facts = [
        _count(len(content.names()), "model"),
        _count(len(tasks), "task"),
        _count(len(content.identities), "protocol identity", "protocol identities"),
    ]
    if dates:
        facts.append(dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}")
    return facts


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _parts(view: dict) -> list[tuple[str, str]]:
    """Returns the anchors and names of the parts of a table's section."""
    parts = {
        "scores": ("Scores", True),
        "differences": ("Differences", bool(view["differences"])),
        "charts": ("Charts", True),
        "size": ("Size and time", bool(view["scatters"] or view["row_scatters"])),
        "classes": ("Confusions", bool(view["details"])),
    }
    return [(f"{view['id']}-{part}", name) for part, (name, there) in parts.items() if there]

"""Model card of a row, for a repository on the Hugging Face Hub."""

from collections.abc import Iterator, Mapping
from typing import Any

from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.report import details
from ocnet_pl.report.cells import report_columns
from ocnet_pl.report.deviations import NAMES, value_in_words
from ocnet_pl.report.pages import TEMPLATES, notes_of
from ocnet_pl.table import Row, Table
from ocnet_pl.table.columns import EvaluationColumn

_METRICS = {"miou": "mean_iou", "pixel_accuracy": "accuracy"}
"""The Hub's names of our metrics."""
_SETTINGS = (
    "dataset.train_split", "dataset.crop_size", "dataset.size", "dataset.short_sides", "dataset.scale",
    "model.backbone.model_name", "model.backbone.pretrained", "model.backbone.output_stride", "schedule.max_steps",
    "schedule.batch_size", "schedule.lr", "schedule.weight_decay", "loss.auxiliary_weight", "trainer.precision",
)  # fmt: skip
"""Settings of the training that a card names, as far as a data set has them."""


def model_card(table: Table, name: str | None = None) -> str:
    """Format the card of a row: metadata with its scores, then the row, its training and the notes of the table.

    Args:
        table: the table.
        name: name of the row; None: the only row.

    Raises:
        UserError: the table has no such finished row, or more than one and no name is given.
    """
    try:
        from huggingface_hub import EvalResult, ModelCard, ModelCardData
    except ImportError:
        raise UserError("--card needs huggingface-hub: pip install 'ocnet_pl[hub]'") from None
    row = _chosen(table, name)
    first = row.counted[0]
    dataset = printable(str(first.choices.get("dataset") or table.name))
    scores = [
        EvalResult(
            task_type="image-segmentation",
            task_name="Semantic segmentation",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=column.split,
            metric_type=_METRICS[column.metric],
            metric_name=printable(column.label),
            metric_value=round(cell.ours.mean, 2),
            metric_args={"seeds": cell.ours.n}
            | ({"standard_deviation": round(cell.ours.sd, 2)} if cell.ours.n > 1 else {}),
        )
        for column, cell in zip(table.columns, row.cells, strict=True)
        if isinstance(column, EvaluationColumn) and cell.ours.n and column.split != "train" and not cell.trained_on
    ]
    data = ModelCardData(
        library_name="ocnet_pl",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "pytorch", printable(first.head)],
        datasets=[dataset],
        metrics=sorted({score.metric_type for score in scores}),
        model_name=printable(row.label),
        eval_results=scores or None,
    )
    text = TEMPLATES.get_template("card.md").render(
        notes_of(table),
        label=row.label,
        dataset=dataset,
        main=table.columns[table.main_column].label,
        by_seed={seed: f"{value:.2f}" for seed, value in sorted(row.cells[table.main_column].values.items())},
        numbers=[(column.heading, str(column.entry(row))) for column in report_columns(table)[1:]],
        settings=[("test protocol", first.protocol), *_settings(first.config)],
        classes=_by_class(table, row),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _chosen(table: Table, name: str | None) -> Row:
    rows = {row.name: row for row in table.rows if row.results}
    if name is None and len(rows) == 1:
        return next(iter(rows.values()))
    if name not in rows:
        given = "has several rows" if name is None else f"has no finished row {name}"
        raise UserError(f"--card: {table.name} {given}; give one with --row: {', '.join(rows)}")
    return rows[name]


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in _SETTINGS:
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield NAMES[key], value_in_words(value)


def _by_class(table: Table, row: Row) -> list[tuple[str, str]]:
    """IoU of every class in this row."""
    headings, lines = details.classes(table)
    place = headings.index(row.label)
    return [(line[0], line[place]) for line in lines]

"""Windows measured on real Delta tables in a temporary folder, against versions in a real registry."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.core.errors import DataError
from include.core.sections import Task
from include.evaluation import metrics
from include.lakehouse import predictions, windows
from include.lakehouse.schemas import (
    ARRIVED_AT,
    EVENT_TIMESTAMP,
    FEATURES,
    LABELS,
    METRICS,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    PROFILES,
    REFERENCE_PROFILES,
    RESIDUAL,
)
from include.monitoring import reference, window
from tests.tables import put
from tests.unit.monitoring.scene import DAY, HISTORY, NAMES, NEXT, ROWS, Scene, rows_of, trained

pytestmark = pytest.mark.slow

LEAST = metrics.METRICS["adjusted_r2"].least_rows(len(NAMES))


def test_a_labelled_window(scene: Scene) -> None:
    predicted = scene.deliver()
    errors = scene.label(predicted)
    measured = scene.measure()
    actual = predicted[PREDICTION].to_numpy() - errors
    r2 = 1 - (errors**2).sum() / ((actual - actual.mean()) ** 2).sum()
    assert measured.metric == pytest.approx(1 - (1 - r2) * (ROWS - 1) / (ROWS - len(NAMES) - 1))
    assert measured.values == pytest.approx(
        {
            "adjusted_r2": measured.metric,
            "r2": r2,
            "rmse": np.sqrt((errors**2).mean()),
            "mae": np.abs(errors).mean(),
            "bias": errors.mean(),
        }
    )
    assert (measured.rows, measured.labelled_rows, measured.version) == (ROWS, ROWS, "1")
    assert measured.labelled
    assert measured.drifted_features == ()
    assert json.loads(json.dumps(asdict(measured), default=str))["metric"] == measured.metric


def test_labels_are_not_seen_before_they_arrive(scene: Scene) -> None:
    scene.label(scene.deliver())
    trained_on, served = (
        reference.load(scene.spec, scene.lake, "1"),
        predictions.served_rows(scene.spec, scene.lake, DAY),
    )
    arrived = DAY.labels_available_at(1)
    for moment, seen in ((arrived - timedelta(microseconds=1), 0), (arrived, ROWS)):
        found = window.measure(scene.spec, scene.lake, DAY, served, trained_on, moment)
        assert found.values["labelled_rows"] == seen
        assert ("rmse" in found.values) == bool(seen)


def test_too_few_labels_give_errors_but_not_the_models_metric(scene: Scene) -> None:
    predicted = scene.deliver()
    scene.label(predicted, rows=LEAST - 1)
    few = scene.measure()
    assert "rmse" in few.values
    assert not few.labelled
    scene.label(predicted, rows=LEAST)
    assert scene.measure().labelled


def test_drift_names_the_feature_and_the_predictions_apart(scene: Scene) -> None:
    scene.deliver()
    assert scene.measure().prediction_drifted is False
    scene.deliver(NEXT, seed=2, change=lambda rows: rows.assign(income=rows["income"] * 1.5))
    drifted = scene.measure(NEXT)
    assert drifted.drifted_features == ("income",)
    assert drifted.prediction_drifted is True
    scene.deliver(NEXT, seed=3)
    assert scene.measure(NEXT).prediction_drifted is False
    scene.train(trained().assign(income=lambda rows: rows["income"] * 1.5))
    scene.deliver(NEXT.shift(1), seed=3, version="2")
    assert scene.measure(NEXT.shift(1)).prediction_drifted is True


def test_it_does_not_matter_which_partitions_were_measured_before(scene: Scene) -> None:
    days = [DAY.shift(number) for number in range(4)]
    for place, partition in enumerate(days):
        scene.label(scene.deliver(partition, seed=place, change=lambda rows: rows.assign(income=rows["income"] * 1.3)))
    forward = [scene.measure(partition) for partition in days]
    rows = _metrics(scene)
    for partition in days:
        at = {PARTITION: partition.key, "source": windows.SOURCE}
        scene.lake.replace(METRICS.of(scene.spec), rows.slice(0, 0), at)
    assert [scene.measure(partition) for partition in reversed(days)] == forward[::-1]
    assert _metrics(scene).equals(rows)


def test_the_metrics_table_holds_values_with_their_thresholds(scene: Scene) -> None:
    scene.label(scene.deliver())
    measured = scene.measure()
    rows = scene.lake.read(METRICS.of(scene.spec)).to_pandas().set_index(["metric", "slice"])
    drift = scene.spec.monitoring.drift
    assert set(rows[PARTITION]) == {DAY.key}
    assert rows.loc[("adjusted_r2", "all"), "value"] == measured.metric
    assert rows.loc[("adjusted_r2", "all"), "threshold"] == scene.spec.monitoring.performance.threshold
    assert np.isnan(rows.loc[("rmse", "all"), "threshold"])
    assert rows.loc[("distance", "income"), "threshold"] == drift.tests["number"].min_effect
    assert rows.loc[("adjusted_p", "income"), "threshold"] == drift.alpha
    assert {name for metric, name in rows.index if metric == "drifted"} == {*NAMES, PREDICTION, RESIDUAL}


def test_measuring_again_leaves_the_same_rows(scene: Scene) -> None:
    scene.label(scene.deliver())
    first, before = scene.measure(), _metrics(scene)
    assert scene.measure() == first
    assert _metrics(scene).equals(before)


def test_windows_are_read_back_as_they_were_measured(scene: Scene) -> None:
    assert windows.read(scene.spec, scene.lake, DAY, NEXT) == []
    scene.label(scene.deliver(NEXT, seed=2, change=lambda rows: rows.assign(age=rows["age"] + 60)), NEXT)
    scene.deliver()
    second, first = scene.measure(NEXT), scene.measure()
    assert windows.read(scene.spec, scene.lake, DAY, NEXT) == [first, second]
    assert windows.read(scene.spec, scene.lake, DAY, DAY) == [first]
    assert windows.drifted(scene.spec, scene.lake, DAY, NEXT) == [NEXT]
    assert second.drifted_features == ("age",)


def test_a_partition_of_which_nothing_was_served(scene: Scene) -> None:
    scene.label(rows_of(1, DAY).assign(**{PREDICTION: 1.0}))
    nothing = scene.measure()
    assert (nothing.rows, nothing.version, nothing.labelled, nothing.drifted_features) == (0, None, False, ())
    scene.label(scene.deliver(NEXT))
    assert scene.measure() == nothing
    assert windows.read(scene.spec, scene.lake, DAY, DAY) == [nothing]


def test_broken_tables_are_named(scene: Scene) -> None:
    rows, predicted = rows_of(1, DAY), scene.deliver()
    scene.score(DAY, rows, predicted[PREDICTION], "2")
    with pytest.raises(DataError, match="rows of versions 1, 2 were served"):
        scene.measure()
    scene.score(DAY, rows, predicted[PREDICTION], "2", served=False)
    again = pd.concat([rows, rows[:3]])
    with pytest.raises(DataError, match=r"predictions_.*3 rows repeat the key listing_id, model_version"):
        scene.score(DAY, again, again["income"], "1")
    scene.score(DAY, rows, predicted[PREDICTION], "1")
    table = FEATURES.of(scene.spec, dict.fromkeys(NAMES, METRICS.of(scene.spec).schema.field("value").type))
    put(scene.lake, table, rows.iloc[:290], DAY)
    scene.score(DAY, rows, predicted[PREDICTION], "1")
    with pytest.raises(DataError, match=r"10 of 300 scored rows have no features\. Run build_features for 2025-01-05"):
        scene.measure()
    put(scene.lake, table, rows.drop(columns="age"), DAY)
    scene.score(DAY, rows, predicted[PREDICTION], "1")
    assert scene.measure().drifted_features == ("age",)
    assert not scene.lake.exists(LABELS.of(scene.spec))


def test_a_feature_that_no_row_ever_had_is_missed_by_name(scene: Scene) -> None:
    scene.promote(scene.train(trained().assign(rooms=1.0), features=[*NAMES, "rooms"]))
    scene.deliver(version="2")
    with pytest.raises(DataError, match="columns rooms of the reference are not in the window"):
        scene.measure()


def test_a_version_is_compared_with_the_training_set_it_was_trained_on(scene: Scene) -> None:
    """A second training for the same partition replaced those rows; the first one's are in its table version."""
    scene.train(trained(seed=5, rows=40))
    assert len(reference.load(scene.spec, scene.lake, "1").features) == 3000
    assert len(reference.load(scene.spec, scene.lake, "2").features) == 40


def test_a_version_without_a_profile_is_named(scene: Scene) -> None:
    scene.deliver()
    table = REFERENCE_PROFILES.of(scene.spec)
    scene.lake.replace(table, table.schema.empty_table(), {MODEL_VERSION: "1"})
    with pytest.raises(DataError, match="version 1 has no reference profile"):
        scene.measure()


def test_only_the_versions_own_features_are_compared_and_counted(scene: Scene) -> None:
    """features.sql got 60 more, which are columns of training set and features alike: they are not of this version."""
    more = {f"more_{number}": 0.0 for number in range(60)}
    scene.label(scene.deliver())
    before = scene.measure()
    scene.train(trained(seed=5).assign(**more), features=[*NAMES, *more], training_set="2025-01-03")
    scene.deliver(extra=lambda rows: rows.assign(**dict.fromkeys(more, 7.0)))
    assert scene.measure() == before
    assert before.metric is not None
    loaded = reference.load(scene.spec, scene.lake, "1")
    assert tuple(loaded.features.columns) == NAMES
    assert loaded.n_features == len(NAMES)
    assert set(_metrics(scene).to_pandas()["slice"]) == {windows.ALL, PREDICTION, RESIDUAL, *NAMES}


def test_scoring_an_old_partition_again_changes_nothing_of_it(scene: Scene) -> None:
    """The version that scores it later was trained on it, and would look better than what was served."""
    predicted = scene.deliver()
    scene.label(predicted, noise=80)
    scene.deliver(NEXT, seed=2)
    before, after = scene.measure(), scene.measure(NEXT)
    rows = _metrics(scene)
    known = rows_of(1, DAY).assign(**{"split": "train", scene.spec.target: 1.0, PARTITION: DAY.key})
    version = scene.train(pd.concat([trained(), known]), training_set="2025-01-06")
    labels = scene.lake.read(LABELS.of(scene.spec)).to_pandas().set_index("listing_id")[scene.spec.target]
    scene.score(DAY, predicted, predicted["listing_id"].map(labels), version, served=False)
    assert scene.measure() == before
    assert scene.measure(NEXT) == after
    assert _metrics(scene).equals(rows)


@pytest.mark.parametrize(("kept", "labelled"), [(LEAST, True), (LEAST - 1, False)])
def test_a_version_is_not_measured_on_rows_that_it_was_trained_on(scene: Scene, kept: int, labelled: bool) -> None:
    """Its test rows are fair; of those it has fitted or tuned on there is only a count."""
    rows = rows_of(1, DAY)
    parts = ["test"] * kept + ["validation"] * 20 + ["train"] * (ROWS - kept - 20)
    known = rows.assign(**{"split": parts, scene.spec.target: 1.0, PARTITION: DAY.key})
    # The same key in another partition is another row.
    other = rows.iloc[:kept].assign(**{"split": "train", scene.spec.target: 1.0, EVENT_TIMESTAMP: HISTORY.start})
    version = scene.train(
        pd.concat([trained(), known, other.assign(**{PARTITION: HISTORY.key})]), training_set="2025-01-06"
    )
    predicted = scene.deliver(version=version)
    errors = scene.label(predicted)
    measured = scene.measure()
    assert (measured.labelled_rows, measured.in_training) == (kept, ROWS - kept)
    assert measured.values["mae"] == pytest.approx(np.abs(errors[:kept]).mean())
    assert measured.labelled is labelled
    rows = _metrics(scene).to_pandas().set_index(["metric", "slice"])
    assert rows.loc[("in_training", "all"), "value"] == ROWS - kept


def test_entities_that_two_columns_name_together(scene: Scene) -> None:
    entity = scene.spec.entity.model_dump() | {"keys": ("listing_id", "ocean_proximity")}
    scene = scene.changed(entity=entity, name=f"{scene.spec.name}_two")
    half = trained(rows=1500)
    both = pd.concat([half.assign(ocean_proximity=place) for place in ("INLAND", "ISLAND")])
    scene.train(both)

    def twice(rows: pd.DataFrame) -> pd.DataFrame:
        """Each number at two places, with other values."""
        return pd.concat(
            [
                rows.assign(ocean_proximity="INLAND"),
                rows.assign(ocean_proximity="ISLAND", income=rows["income"].to_numpy()[::-1]),
            ],
            ignore_index=True,
        )

    predicted = scene.deliver(change=twice)
    errors = scene.label(predicted, rows=2 * ROWS)
    measured = scene.measure()
    assert (measured.rows, measured.labelled_rows, measured.drifted_features) == (2 * ROWS, 2 * ROWS, ())
    assert measured.values["mae"] == pytest.approx(np.abs(errors).mean())


def test_a_binary_model_is_measured_by_its_own_metrics(scene: Scene) -> None:
    scene = scene.changed(task=Task.BINARY, metric="auc", name=f"{scene.spec.name}_yes_no")
    scene.train(trained())
    rows = rows_of(1, DAY)
    scene.deliver()
    chance = 1 / (1 + np.exp(-rows["age"] / 10 + 2.5))
    scene.score(DAY, rows, chance, "1")
    label = (np.random.default_rng(3).random(ROWS) < chance).astype(float)
    labels = rows[["listing_id"]].assign(**{scene.spec.target: label, ARRIVED_AT: NEXT.start})
    put(scene.lake, LABELS.of(scene.spec), labels, DAY)
    measured = scene.measure()
    assert set(measured.values) == {"auc", "log_loss", "brier"}
    positive, negative = chance[label == 1].to_numpy(), chance[label == 0].to_numpy()
    assert measured.metric == pytest.approx(
        ((positive[:, None] > negative).mean() + (positive[:, None] >= negative).mean()) / 2
    )
    assert measured.metric_undefined == 0
    put(scene.lake, LABELS.of(scene.spec), labels.assign(**{scene.spec.target: 1.0}), DAY)
    of_one_class = scene.measure()
    assert (of_one_class.metric, of_one_class.labelled_rows, of_one_class.metric_undefined) == (None, ROWS, ROWS)


def test_a_feature_of_codes_is_compared_as_a_category_with_those_of_its_version(scene: Scene) -> None:
    def placed(rows: pd.DataFrame, among: list[float]) -> pd.DataFrame:
        return rows.assign(place=np.random.default_rng(5).choice(among, len(rows)))

    rows, told = placed(trained(), [1.0, 2.0, 3.0]), {"place": {"values": ["a", "b", "c"], "unseen": "other"}}
    version = scene.train(rows, [*NAMES, "place"], "with_codes", categories=json.dumps(told))
    scene.promote(version)
    scene.deliver(DAY, version=version, extra=lambda rows: placed(rows, [1.0, 2.0, 3.0]))
    scene.deliver(NEXT, version=version, extra=lambda rows: placed(rows, [1.0, 3.0, 4.0]))  # 4: named since
    assert scene.measure(DAY).drifted_features == ()
    assert scene.measure(NEXT).drifted_features == ("place",)
    table = scene.lake.read(METRICS.of(scene.spec), where=[(PARTITION, "=", NEXT.key)]).to_pandas()
    (distance,) = table[(table["metric"] == "distance") & (table["slice"] == "place")]["value"]
    assert distance == pytest.approx(1 / 3, abs=0.08)


def test_a_concept_drift_that_a_category_explains_in_no_order_is_learned(scene: Scene) -> None:
    """What the middle one of three places is worth has risen, and that of the others fallen."""
    worth = pd.Series({1.0: -150.0, 2.0: 300.0, 3.0: -150.0})
    places = np.random.default_rng(5).choice(worth.index, ROWS)
    category = {"place": {"values": ["a", "b", "c"], "unseen": "missing"}}
    rows = trained().assign(place=np.random.default_rng(6).choice(worth.index, 3000))
    version = scene.train(rows, [*NAMES, "place"], "with_codes", categories=json.dumps(category))
    scene.promote(version)
    predicted = scene.deliver(version=version, extra=lambda rows: rows.assign(place=places))
    labels = predicted[["listing_id"]].assign(
        **{
            scene.spec.target: predicted[PREDICTION] + worth[places].to_numpy(),
            ARRIVED_AT: DAY.shift(1).start,
        }
    )
    put(scene.lake, LABELS.of(scene.spec), labels, DAY)
    measured = scene.measure()
    assert measured.drifted_features == ()
    assert measured.concept_drifted


def test_classes_are_compared_as_categories(scene: Scene) -> None:
    scene = scene.changed(task=Task.MULTICLASS, metric="accuracy", name=f"{scene.spec.name}_classes")
    rows = trained()
    scene.train(rows, predictions=rows["listing_id"] % 3)
    for partition, shift in ((DAY, 0), (NEXT, 0), (NEXT.shift(1), 1)):
        rows = rows_of(1, partition)
        scene.deliver(partition)
        scene.score(partition, rows, (rows["listing_id"] % 3 + shift).clip(upper=2).astype(float), "1")
    assert scene.measure(NEXT).prediction_drifted is False
    assert scene.measure(NEXT.shift(1)).prediction_drifted is True


def test_delivered_columns_that_drifted_are_named(scene: Scene) -> None:
    scene.deliver()
    for partition, nulls in ((HISTORY, 3), (DAY, 90)):
        lines = [("total_rooms", "count", 300.0), ("total_rooms", "nulls", float(nulls))]
        frame = pd.DataFrame(lines, columns=["column", "statistic", "value"])
        put(scene.lake, PROFILES.of(scene.spec), frame, partition)
    measured = scene.measure()
    assert measured.drifted_columns == ("total_rooms",)
    assert measured.drifted_features == ()
    assert windows.read(scene.spec, scene.lake, DAY, DAY) == [measured]


def _metrics(scene: Scene) -> pa.Table:
    order = [(name, "ascending") for name in (PARTITION, "metric", "slice")]
    return scene.lake.read(METRICS.of(scene.spec)).sort_by(order)

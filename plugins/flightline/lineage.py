"""OpenLineage facets of the tasks from a delivery to its predictions: what they read and wrote, schema, quality."""

from __future__ import annotations

from typing import Any

from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import data_quality_assertions_dataset as assertions
from openlineage.client.facet_v2 import data_quality_metrics_input_dataset as metrics
from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
from openlineage.client.facet_v2 import schema_dataset

from include.core import catalogue
from include.core.partition import Partition
from include.orchestration import lineage
from include.orchestration.lineage import Dataset


class LakehouseExtractor(BaseExtractor):
    """Of the tasks that ``include.orchestration.lineage`` knows; any other task has no facets of ours."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        return ["_PythonDecoratedOperator", "_BranchPythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage | None:
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        run = getattr(task_instance, "dag_run", None) or task_instance.get_template_context()["dag_run"]
        model, _, dag = self.operator.dag_id.partition(".")
        key = str(run.partition_key or (run.conf or {}).get("partition") or "")
        if not key or key.isdigit():  # the run is about no partition, but about a version
            return OperatorLineage()
        partition = Partition.parse(key, catalogue.load(model).grain)
        read, written = lineage.of_task(model, dag, self.operator.task_id, partition)
        return OperatorLineage(inputs=[_input(item) for item in read], outputs=[_output(item) for item in written])


def _input(item: Dataset) -> InputDataset:
    facets: dict[str, Any] = {}
    if item.rows is not None:
        facets["dataQualityMetrics"] = metrics.DataQualityMetricsInputDatasetFacet(
            rowCount=item.rows,
            columnMetrics={
                name: metrics.ColumnMetrics(
                    nullCount=int(column["nulls"]),
                    count=column["count"],
                    min=column.get("min"),
                    max=column.get("max"),
                )
                for name, column in item.columns.items()
            },
        )
    if item.assertions:
        facets["dataQualityAssertions"] = assertions.DataQualityAssertionsDatasetFacet(
            assertions=[
                assertions.Assertion(assertion=name, success=success, column=column)
                for name, column, success in item.assertions
            ]
        )
    return InputDataset(namespace=item.namespace, name=item.name, facets=_schema(item), inputFacets=facets)


def _output(item: Dataset) -> OutputDataset:
    facets: dict[str, Any] = {}
    if item.rows is not None:
        facets["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(rowCount=item.rows)
    return OutputDataset(namespace=item.namespace, name=item.name, facets=_schema(item), outputFacets=facets)


def _schema(item: Dataset) -> dict[str, Any]:
    fields = [schema_dataset.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in item.schema.items()]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields=fields)} if fields else {}

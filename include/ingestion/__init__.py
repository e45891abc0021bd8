"""Ingestion: a delivery is validated by the rules of its model, then loaded or rejected."""

import logging

# Before whichever module imports Great Expectations first: the import itself logs a line for each documented
# function, and the rest of its news is of no use in a task log.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
logging.getLogger("great_expectations._docs_decorators").setLevel(logging.WARNING)

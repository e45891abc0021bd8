"""The rules of a model's batches, and whether a batch keeps them."""

import logging

# Before whichever module imports Great Expectations first: the import itself logs a line for each documented
# function, and the rest of its news is of no use in a task log.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
logging.getLogger("great_expectations._docs_decorators").setLevel(logging.WARNING)

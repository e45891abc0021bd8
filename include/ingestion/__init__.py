"""Ingestion: a delivery is validated by the rules of its model, then loaded or rejected.

Five nouns, in the order in which `steps` uses them: a *delivery* (`files` are read one by one) is written to ``raw_``
by the `raw_loader`; its *rows* are validated by the *expectations* (the `suite` is what Great Expectations makes of
them, the `scan` what the rows say by themselves); the findings become a *verdict*; the *batch* is what the tables
then hold. The partition goes down once, in the `Run`; what is found comes back up. `labels` are a delivery of their
own.
"""

import logging

# Before whichever module imports Great Expectations first: the import itself logs a line for each documented
# function, and the rest of its news is of no use in a task log.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
logging.getLogger("great_expectations._docs_decorators").setLevel(logging.WARNING)

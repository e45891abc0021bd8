"""`feast ui` over this installation's registry: definitions applied first, so that there is something to see.

Started by the local stack: ``python -m include.runtime.feast_ui <port>``.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from include.core import catalogue
from include.core.errors import ConfigError

log = logging.getLogger(__name__)


def main(port: str) -> None:
    from include.features import store

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    feast = store.open_store()
    for name in catalogue.registered():
        try:
            changed = store.apply(feast, catalogue.load(name))
        except ConfigError as error:  # the model's own DAGs report it, too; the others can be looked at
            log.warning("%s is not applied: %s", name, error)
        else:
            log.info("%s is %s", name, "applied" if changed else "unchanged")
    command = str(Path(sys.executable).parent / "feast")
    os.execv(  # noqa: S606  (this process becomes Feast's, and ends with the stack)
        command, [command, "--chdir", str(store.REPOSITORY), "ui", "--host", "127.0.0.1", "--port", port]
    )


if __name__ == "__main__":
    main(sys.argv[1])

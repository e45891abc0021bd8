"""What `feast apply` registers: the Feast objects of every model, made from its folder in include/models."""

import sys

from include.core import catalogue
from include.core.settings import Settings
from include.features import definitions, store
from include.orchestration import models

lakehouse = Settings.load(need=("lakehouse_uri",)).lakehouse_uri

# Feast collects what it finds as attributes of this module.
for name in catalogue.registered():
    if wrong := models.problem(name):
        print(f"What is registered of {name} stays as it is: {wrong}", file=sys.stderr)
        found = store.registered(store.open_store(), name)
    else:
        found = definitions.feast_objects(catalogue.load(name), lakehouse)
    for number, item in enumerate(found):
        globals()[f"{name}_{number}"] = item

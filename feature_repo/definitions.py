"""What `feast apply` registers: the Feast objects of every model, made from its folder in include/models."""

from include.core import catalogue
from include.core.settings import Settings
from include.features import definitions

specs = [catalogue.load(name) for name in catalogue.registered()]
definitions.check_names(specs)

# Feast collects what it finds as attributes of this module.
for spec in specs:
    for number, item in enumerate(
        definitions.feast_objects(spec, Settings.load(need=("lakehouse_uri",)).lakehouse_uri)
    ):
        globals()[f"{spec.name}_{number}"] = item

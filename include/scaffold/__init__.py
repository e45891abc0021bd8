"""A model's folder: drafted from a file, checked as a whole, described for editors."""

from feast_delta import fast_import

fast_import.enable()

"""What stands above the DAGs: it plays them, and what is outside of them."""

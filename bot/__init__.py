"""People: what they may ask for on every surface, and how the answers reach them. Knows no tensors."""

import storage  # noqa: F401  (first of all: it chooses this process's SQLite before anything imports sqlite3)

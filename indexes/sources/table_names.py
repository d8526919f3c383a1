"""Where the names of a table's rows stand, where the table has none itself."""

from pathlib import Path


def beside(table: Path) -> tuple[Path, ...]:
    """The files that belong to a .npy: NAME.npy.json, and NAME.npy.csv or NAME.csv."""
    if table.suffix.lower() != ".npy":
        return ()
    lists = (table.with_name(f"{table.name}.csv"), table.with_suffix(".csv"))
    rows = next((path for path in lists if path.is_file()), None)
    described = table.with_name(f"{table.name}.json")
    return tuple(path for path in (described, rows) if path is not None and path.is_file())

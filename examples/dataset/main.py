"""A training set over MovieLens, written with DuckDB and with Spark, and found changed by one star.

    python examples/dataset/main.py                 # MovieLens in ../shared/data, or TADKA_DATA
    python examples/dataset/main.py --out likes     # keep what is written
    python examples/dataset/main.py --engines duckdb

The program stops when the two engines do not write the same rows, or when `verify` does not name
the one partition in which one rating is changed.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import likes
import pyarrow as pa
import pyarrow.parquet as pq
import tables

from tadka.dataset import CheckResult, Dataset, Version, merge, session

PERIOD = {"start": "1997-11-01", "end": "1998-04-23"}
CHANGED_DAY = "1998-03-01"


def here(folder: Path) -> type[Dataset]:
    """The definition, with the tables where this machine has them."""
    places = {
        "Rating": folder / "ratings" / "day={day}" / "*.parquet",
        "Person": folder / "people.parquet",
        "Film": folder / "films.parquet",
    }
    overrides = {"tables": {name: {"source": str(place)} for name, place in places.items()}}
    return merge(likes.Likes, overrides)


def change_one_rating(folder: Path) -> None:
    """One star more or less for one rating, in a file of the same rows and time."""
    file = folder / "ratings" / f"day={CHANGED_DAY}" / "part-0.parquet"
    before = file.stat()
    table = pq.read_table(file)
    stars = table["stars"].to_pylist()
    stars[0] = 4 if stars[0] == 5 else stars[0] + 1
    column = pa.array(stars, pa.int8())
    table = table.set_column(table.schema.get_field_index("stars"), "stars", column)
    pq.write_table(table, file, compression="zstd")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="keep tables and versions in this new folder")
    parser.add_argument("--engines", default="duckdb,spark", help="which engines write")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("TADKA_DATA", root.parent / "shared" / "data")) / "ml-100k"
    if not data.is_dir():
        print(
            f"No MovieLens 100k in {data}; set TADKA_DATA to the folder above it.", file=sys.stderr
        )
        return 1

    def say(text: object) -> None:
        if not options.json:
            print(text)

    def tell(result: CheckResult) -> None:
        say(f"  {result.status:8} {result}")

    with tempfile.TemporaryDirectory(prefix="likes-") as aside:
        out = options.out or Path(aside)
        folder = out / "tables"
        folder.mkdir(parents=True)
        say(f"{tables.write_tables(data, folder)} days of ratings in {folder}")
        dataset = here(folder)
        versions: dict[str, Version] = {}
        for engine in options.engines.split(","):
            say(f"\n{engine}:")
            with session(dataset, engine=engine, on_result=tell, **PERIOD) as opened:
                versions[engine] = opened.write(out / engine, tag="first")
            say(versions[engine])
        hashes = {engine: version.manifest.output_hash for engine, version in versions.items()}
        say(f"\noutput hashes: {hashes}")
        if len(set(hashes.values())) != 1:
            print(f"The engines wrote different rows: {hashes}.", file=sys.stderr)
            return 1

        version = next(iter(versions.values()))
        before = version.verify()
        say(f"\nverify, nothing changed:\n{before}")
        change_one_rating(folder)
        after = version.verify()
        say(f"\nverify, one rating of {CHANGED_DAY} changed:\n{after}")
        found = {"before": before.to_dict(), "after": after.to_dict(), "hashes": hashes}
        if options.json:
            print(json.dumps({**found, "num_rows": version.num_rows}))
        if before.status != "same" or after.status != "changed" or CHANGED_DAY not in str(after):
            print("verify does not see it.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A training set by definition: who will like a film, from what was known when they rated it."""

from datetime import date

import numpy as np

from tadka.dataset import (
    Column,
    Dataset,
    InRange,
    Label,
    LabelShare,
    Matched,
    NoEntityOverlap,
    NullShare,
    Output,
    Parameter,
    Partition,
    PartitionsExist,
    RowCount,
    Table,
    Unique,
    Utc,
    by_hash,
    days,
)


class Rating(Table, source="ratings/day={day}/*.parquet", time="at"):
    """One a row: who gave which film how many stars, and when."""

    day: Partition[date]
    user: Column[int]
    film: Column[int]
    stars: Column[np.int8]
    at: Column[Utc]


class Person(Table, source="people.parquet"):
    """Who rates."""

    user: Column[int]
    age: Column[np.int8]
    sex: Column[str]
    occupation: Column[str]


class Film(Table, source="films.parquet"):
    """What is rated."""

    film: Column[int]
    year: Column[np.int16 | None]


class Likes(Dataset):
    """Four stars or more."""

    start = Parameter(date)
    end = Parameter(date)

    rating = Rating.between(start, end)
    person = Person.join(on="user")
    film = Film.join(on="film")
    # What the same person rated in the month before, up to a microsecond before this rating.
    earlier = Rating.between(start - days(31), end).last(days(30), on="user")

    rows = rating
    features = {
        "user": rating.user,
        "film": rating.film,
        "hour": rating.at.in_zone("America/Chicago").hour(),
        "weekday": rating.at.in_zone("America/Chicago").weekday(),
        "age": person.age,
        "sex": person.sex,
        "occupation": person.occupation,
        "film_age": rating.at.in_zone("UTC").year() - film.year,
        "earlier": earlier.count(),
        "earlier_stars": earlier.stars.sum(),
        "earlier_best": earlier.stars.max(),
    }
    label = Label(rating.stars >= 4)
    split = by_hash(rating.user, train=0.8, valid=0.2, salt="likes-1")
    checks = [
        PartitionsExist("Rating", on_fail="warn"),  # on two days of 1997 nobody rated anything
        RowCount(min=1_000, max_drop=0.5),
        Unique("user", "film"),
        NullShare("film_age", max=0.01),
        InRange("age", min=1, max=120),
        Matched("person", min_share=1.0),
        LabelShare(min=0.3, max=0.8),
        NoEntityOverlap("user"),
    ]
    output = Output(target_file_bytes="1MiB", partition_by=["split"])

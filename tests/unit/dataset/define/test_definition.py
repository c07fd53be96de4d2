"""Dataset classes: what they collect, and every mistake in one error."""

import inspect
from datetime import date
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.definition import _TAKEN, Dataset, Definition
from tadka.dataset.define.label import Label
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Partition
from tadka.dataset.define.split import by_hash
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Column, Parameter, days
from tadka.dataset.expression.kind import Utc


class Rating(Table, source="rating/day={day}/*.parquet", time="at"):
    day: Partition[date]
    user: Column[int]
    movie: Column[int]
    rating: Column[float]
    price: Column[float | None]
    at: Column[Utc]


class User(Table, source="user.parquet", time="since"):
    user: Column[int]
    age: Column[int]
    since: Column[Utc]


class Movie(Table, source="movie.parquet"):
    movie: Column[int]
    year: Column[int]


class RowCheck:
    name = "RowCheck"
    on_fail = "raise"

    def to_config(self) -> dict[str, Any]:
        return {}


def dataset(**attributes: Any) -> Definition:
    """The definition of a class with these attributes, over ratings unless they say else."""
    made = {"rating": Rating.all(), **attributes}
    if "features" not in made:
        made["features"] = {"movie": made["rating"].movie}
    body = {name: value for name, value in made.items() if value is not ...}
    cls = type("Made", (Dataset,), body)
    definition: Definition = cls.definition  # type: ignore[attr-defined]
    return definition


def mistake(**attributes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        dataset(**attributes)
    assert str(caught.value).startswith("Dataset 'Made'")
    return str(caught.value)


class Dates:
    start = Parameter(date)
    end = Parameter(date)


class Rated(Dates, Dataset):
    """What users
    think of movies.
    """

    week = days(7)
    rating = Rating.between(Dates.start, Dates.end)
    user = User.as_of(on="user")
    movie = Movie.join(on="movie")
    is_young = user.age < 30

    features = {"movie": rating.movie, "young": is_young}
    label = Label(rating.rating > 3)
    checks = [RowCheck()]
    output = Output(partition_by=["young"])


# ---------------------------------------------------------------- what is collected


def test_a_class_becomes_data() -> None:
    definition = Rated.definition
    assert "Rated" == definition.name
    assert "What users\nthink of movies." == definition.doc
    assert ["start", "end"] == list(definition.parameters)
    assert ["rating", "user", "movie"] == list(definition.relations)
    assert Rated.rating is definition.rows
    assert ["movie", "young"] == list(definition.features)
    assert definition.label is Rated.label
    assert definition.split is None
    assert isinstance(definition.checks, tuple)
    assert ("young",) == definition.output.partition_by


def test_defaults() -> None:
    definition = dataset()
    assert "" == definition.doc
    assert (None, None, (), Output()) == (
        definition.label,
        definition.split,
        definition.checks,
        definition.output,
    )


def test_rows_get_the_names_of_their_attributes() -> None:
    assert ["rating", "user", "movie"] == [
        rows.alias for rows in (Rated.rating, Rated.user, Rated.movie)
    ]
    assert "user.age < 30" == str(Rated.definition.features["young"])
    assert Rated.user.lookup is not None
    assert Rated.user.lookup.on["user"] is Rated.rating.user


def test_a_class_inherits_and_replaces() -> None:
    class Small(Rated):
        output = Output(target_file_bytes="1M")
        features = {"user": Rated.rating.user}

    assert ["user"] == list(Small.definition.features)
    assert Rated.rating is Small.definition.rows
    assert 1 << 20 == Small.definition.output.target_file_bytes
    assert "" == Small.definition.doc
    assert ["movie", "young"] == list(Rated.definition.features)


def test_rows_that_have_no_other_name_are_called_rows() -> None:
    rows = Rating.all()
    definition = dataset(rating=..., rows=rows, features={"user": rows.user})
    assert ["rows"] == list(definition.relations)
    assert "rows.user" == str(definition.features["user"])


def test_helpers_of_the_user_are_left_alone() -> None:
    assert dataset(salt="v1", numbers=[1, 2], helper=lambda: 5, _feature=1).rows is not None


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"features": ...}, "it has no features; give some"),
        ({"features": {}}, "it has no features"),
        ({"features": [1]}, "features is [1]; it must be a mapping of names to expressions."),
        ({"label": 5}, "label is 5; it must be a Label(...)."),
        ({"label": Rating.rating}, "label is the expression rating; it must be a Label(...)."),
        ({"split": 0.8}, "split is 0.8; it must be by_hash(...) or by_time(...)."),
        ({"checks": RowCheck}, "it must be a list of checks"),
        ({"checks": [5]}, "checks has 5, which is no check"),
        ({"output": "out"}, "output is 'out'; it must be an Output(...)."),
        ({"rows": Rating}, "it must be rows of a table, such as Impression.between"),
        ({"feature": {"a": 5}}, "attribute 'feature' has no meaning. Did you mean 'features'?"),
        ({"lable": 5}, "Did you mean 'label'?"),
        ({"check": [5]}, "Did you mean 'checks'?"),
        ({"user": User}, "attribute 'user' is the table 'User' itself; write user = User.all()"),
        ({"definition": 5}, "has an attribute 'definition', which is made; rename it."),
        ({"engine": Parameter(str)}, "attribute 'engine' bears a name that is taken"),
        ({"parameters": User.as_of(on="user")}, "'parameters' bears a name that is taken"),
        ({"features": {"x": 5}}, "feature 'x' is 5; it must be an expression"),
        ({"features": {"": Rating.all().user}}, "A feature has the name ''"),
        ({"output": Output(partition_by=["moive"])}, "'moive', no column of it. Did you mean"),
        ({"output": Output(partition_by=["movie"])}, "names all columns; files would have none."),
    ],
)
def test_wrong_attributes(attributes: dict[str, Any], expected: str) -> None:
    assert expected in mistake(**attributes)


def test_no_parameter_hides_an_argument_of_session() -> None:
    from tadka.dataset.session import session

    taken = {
        name
        for name, each in inspect.signature(session).parameters.items()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert not taken - _TAKEN


def test_all_wrong_roles_are_listed_together() -> None:
    message = mistake(features=..., label=5, split=5, output=5, lable=5)
    assert message.startswith("Dataset 'Made' has 5 mistakes:\n")


# ---------------------------------------------------------------- rows


def test_rows_must_be_clear() -> None:
    users = User.all()
    features = {"user": users.user}
    assert "rating, user may all be its rows; say which: rows = rating." in mistake(
        user=users, features=features
    )
    assert "nothing says what its rows are" in mistake(rating=..., features=features)
    ratings = Rating.all()
    assert "rows 'user' do not belong to 'rating'; find them by as_of()" in mistake(
        rating=ratings, user=users, rows=ratings
    )
    found = User.as_of(on={"user": Rating.user})
    assert "rows = user is found from other rows" in mistake(
        rating=..., user=found, rows=found, features=features
    )


def test_rows_have_one_name() -> None:
    rows = Rating.all()
    message = mistake(rating=rows, again=rows)
    assert "'rating' and 'again' are the same rows; make others with Rating.all()" in message
    assert "differ in case only" in mistake(USER=User.as_of(on="user"), user=User.as_of(on="user"))


def test_tables_have_different_names() -> None:
    class Other(Table, source="user.parquet", time="since", name="User"):
        user: Column[int]
        since: Column[Utc]

    class Folded(Table, source="user.parquet", time="since", name="USER"):
        user: Column[int]
        since: Column[Utc]

    user = User.as_of(on="user")
    assert "two tables are called 'User'" in mistake(user=user, other=Other.as_of(on="user"))
    assert "tables 'User' and 'USER' differ in case only" in mistake(
        user=User.as_of(on="user"), other=Folded.as_of(on="user")
    )


def test_keys_that_the_rows_do_not_have_name_the_nearest() -> None:
    class Person(Table, source="user.parquet", time="since"):
        usr: Column[int]
        since: Column[Utc]

    message = mistake(person=Person.as_of(on="usr"))
    assert "'person' is found on 'usr', which rows 'rating' do not have." in message
    assert "Did you mean 'user'?" in message


# ---------------------------------------------------------------- what expressions are made of


def test_expressions_use_what_the_dataset_has() -> None:
    user = User.as_of(on="user")
    window = Rating.last(days(7), on="user")
    stray = Parameter(int)
    message = mistake(
        user=user,
        window=window,
        features={
            "a": Rating.user,
            "b": User.last(days(1), on="user").count(),
            "c": window.rating,
            "d": user.age + stray,
            "e": Movie.year,
        },
    )
    assert message == (
        "Dataset 'Made' has 5 mistakes:\n"
        "  feature 'a' uses column 'user' of a table itself; write rating.user.\n"
        "  feature 'b' uses rows 'User', which are no attribute of this dataset; give them a "
        "name: x = ... in the class.\n"
        "  feature 'c' uses column 'window.rating' of a window, which has many rows; aggregate "
        "it, as in window.rating.max().\n"
        "  feature 'd' uses a parameter '' that is no attribute of this dataset.\n"
        "  feature 'e' uses column 'year' of a table itself; read it from rows of this dataset."
    )


def test_keys_are_columns_of_the_rows() -> None:
    rows = Rating.all()
    user = User.as_of(on="user")
    window = Rating.last(days(7), on="user")
    message = mistake(
        rating=rows,
        user=user,
        window=window,
        a=Movie.join(on={"movie": user.age}),
        b=Movie.join(on={"movie": window.count()}),
        split=by_hash(user.age.coalesce(0), salt="", all=1),
    )
    assert "key 'movie' of 'a' uses column 'user.age'; it must be made of columns of" in message
    assert "key 'movie' of 'b' uses window.count(), a value over a window" in message
    assert "the key of the split uses column 'user.age'" in message


def test_parameters_in_conditions_belong_to_the_dataset() -> None:
    least = Parameter(float)
    rows = Rating.where(Rating.rating > least)
    assert "the condition of 'rating' uses a parameter ''" in mistake(rating=rows)
    rows = Rating.where(Rating.rating > least)
    assert "least" in dataset(rating=rows, least=least).parameters


def test_one_parameter_has_one_name() -> None:
    twice = Parameter(int)
    assert "is the same object as" in mistake(one=twice, two=twice)


# ---------------------------------------------------------------- the output


def test_columns_of_the_output_have_different_names() -> None:
    rows = Rating.all()
    assert "two columns of the output are called 'label'; rename one." in mistake(
        rating=rows, features={"label": rows.user}, label=Label(rows.rating)
    )
    rows = Rating.all()
    assert "columns 'Split' and 'split' of the output differ in case only." in mistake(
        rating=rows,
        features={"Split": rows.user},
        split=by_hash(rows.user, salt="", train=1),
    )


def test_a_split_has_no_rows_without_part() -> None:
    rows = Rating.all()
    message = mistake(rating=rows, split=by_hash(rows.price.to(int), salt="", train=1))
    assert "which may be null and then is in no part; write .coalesce(...)" in message


def test_folders_have_exact_names() -> None:
    rows = Rating.all()
    message = mistake(
        rating=rows,
        features={"a": rows.rating, "b": rows.user},
        output=Output(partition_by=["a"]),
    )
    assert "names 'a' of type float64, which has no exact name of a folder" in message

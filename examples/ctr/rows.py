"""Three feature classes: what each row says, and what a model sees of it."""

from datetime import datetime
from typing import Annotated

from tadka.features import Buckets, Features, Log

AGES = (18, 25, 30, 35, 40, 45, 50, 56, 65)


class AppUse(Features, size=2**18):
    """frappe: a person used an app in some context, or (label 0) did not."""

    user: int
    item: int
    daytime: int
    weekday: int
    is_weekend: int
    homework: int
    cost: int
    weather: int
    country: int
    city: int

    @property
    def item_daytime(self) -> str:
        return f"{self.item}_{self.daytime}"


class Person(Features, size=2**18):
    """adult: a person in the census of 1994, who earned over 50,000 dollars or not."""

    age: Annotated[int, Buckets(AGES)]
    type_employer: str
    education: str
    marital: str
    occupation: str
    relationship: str
    race: str
    sex: str
    capital_gain: Annotated[int, Log()]
    capital_loss: Annotated[int, Log()]
    hr_per_week: Annotated[int, Buckets((20, 30, 39, 41, 50, 60))]
    country: str

    @property
    def education_occupation(self) -> str:
        return f"{self.education}_{self.occupation}"

    @property
    def marital_sex(self) -> str:
        return f"{self.marital}_{self.sex}"

    @property
    def gains(self) -> int:
        return min(self.capital_gain // 500, 40)


class Like(Features, size=2**18):
    """MovieLens: a person rated a film with four or five stars, or with fewer."""

    time: datetime
    user: int
    film: int
    age: Annotated[int, Buckets(AGES)]
    sex: str
    occupation: str
    year: int | None
    genres: list[str]

    @property
    def hour(self) -> int:
        return self.time.hour

    @property
    def weekday(self) -> int:
        return self.time.weekday()

    @property
    def decade(self) -> int | None:
        return None if self.year is None else self.year // 10

    @property
    def sex_occupation(self) -> str:
        return f"{self.sex}_{self.occupation}"
